# system configuration generated and used by the sysconfig module
build_time_vars = {'ABIFLAGS': '',
 'AR': '/tools/llvm/bin/llvm-ar',
 'BINDIR': '/install/bin',
 'BINLIBDEST': '/install/lib/python3.10',
 'BLDSHARED': 'clang -pthread -shared -L/tools/deps/lib -Wl,--exclude-libs,ALL '
              '-L/tools/deps/libedit/lib',
 'CC': 'clang -pthread',
 'CFLAGS': '-Wno-unused-result -Wsign-compare -DNDEBUG -g -fwrapv -O3 -Wall  '
           '-fdebug-default-version=4 -fPIC -I/tools/deps/include '
           '-I/tools/deps/include/ncursesw',
 'CONFIG_ARGS': "'--build=x86_64-unknown-linux-gnu' '--prefix=/install' "
                "'--with-openssl=/tools/deps' 'CC=clang' "
                "'LDFLAGS=-L/tools/deps/lib -L/install/lib'",
 'CXX': 'clang++ -pthread',
 'DESTDIRS': '/install /install/lib /install/lib/python3.10 '
             '/install/lib/python3.10/lib-dynload',
 'EXT_SUFFIX': '.cpython-310-x86_64-linux-gnu.so',
 'INCLUDEPY': '/install/include/python3.10',
 'INSTALL': '/usr/bin/install -c',
 'LDCXXSHARED': 'clang++ -pthread -shared',
 'LDFLAGS': '-L/tools/deps/lib -Wl,--exclude-libs,ALL '
            '-L/tools/deps/libedit/lib',
 'LDSHARED': 'clang -pthread -shared -L/tools/deps/lib -Wl,--exclude-libs,ALL '
             '-L/tools/deps/libedit/lib',
 'LIBDIR': '/install/lib',
 'LIBPL': '/install/lib/python3.10/config-3.10-x86_64-linux-gnu',
 'LINKCC': 'clang -pthread',
 'PYTHONPATH_OF_INSTALLER': '/installer/lib:/install-old/lib',
 'RANLIB': '/tools/llvm/bin/llvm-ranlib',
 'SIZEOF_LONG': 8,
 'WASM_STDLIB': './install/lib/python3.10/os.py',
 'exec_prefix': '/install',
 'prefix': '/install'}

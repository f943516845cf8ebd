# Something to look after.
provision-backend install '>=3.12' >/dev/null

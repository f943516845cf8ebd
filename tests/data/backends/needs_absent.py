"""Cannot be imported, since what it imports itself is not there."""

import absent_helper

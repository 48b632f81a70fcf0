"""How much a submission may hold, before anybody looks at what it says.

An exercise's solution has some 3 KB in three files; etcd takes objects of 1.5 MB.
"""

from __future__ import annotations

MOST_FILE_BYTES = 256 * 1024
"""Of one file."""
MOST_BYTES = 1024 * 1024
"""Of all files together."""
MOST_FILES = 50
MOST_ENTRIES = 500
"""Files and folders that are looked at, whatever they are."""
DEEPEST_FOLDER = 5
LONGEST_NAME = 100
"""Characters of a file's path in the submission."""

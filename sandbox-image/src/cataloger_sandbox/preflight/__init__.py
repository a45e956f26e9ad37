"""The survey of a database before anything is paid for.

Can it be opened, which tables are meant, and is its role shown to be unable to write? It prints one
JSON document and leaves nothing: no variable, no file, no connection, no object in the database,
also when it is killed half way. It must not know who reads the document.
"""

import json
import os
import warnings

from cataloger_sandbox.preflight import files, mysql, postgres
from cataloger_sandbox.preflight.opening import Address, broken_off, open_database
from cataloger_sandbox.preflight.report import Failure, Survey

VERSION = 1
TABLES = 1_000

_SURVEYORS = {
    "postgres": postgres.survey,
    "postgresql": postgres.survey,
    "mysql": mysql.survey,
    "mariadb": mysql.survey,
    "sqlite": files.survey_sqlite,
    "duckdb": files.survey_duckdb,
}


def preflight(
    tables: list[str],
    allow_writable: bool = False,
    limit: int = TABLES,
    url: str | None = None,
) -> None:
    """Survey the run's database, and print what was found as one line of JSON."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = survey(tables, allow_writable, limit, url)
    print(json.dumps({"preflight": VERSION} | found))


def survey(
    tables: list[str], allow_writable: bool = False, limit: int = TABLES, url: str | None = None
) -> dict:
    """What ``preflight`` prints."""
    result = Survey(allow_writable=allow_writable, limit=limit)
    try:
        address = Address.read(url or os.environ.get("DATABASE_URL", ""))
        try:
            with open_database(address) as connection:
                _SURVEYORS[address.scheme](connection, address, tables, result)
            if not result.tables and not result.failures:
                raise Failure(
                    "no_match",
                    "none of the tables that are meant can be read",
                    f"What was found: {'; '.join(result.notes)}",
                )
        except Failure:
            raise
        except Exception as error:  # noqa: BLE001 - drivers' own, of many kinds; none may quote a secret
            raise broken_off(address, error) from None
    except Failure as failure:
        result.failures.append(failure)
    return result.document()

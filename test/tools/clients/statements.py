"""Connects by libpq's variables, and runs the statements of its input, which end with NUL. Prints a line for each."""
import sys

import psycopg

connection = psycopg.connect("", autocommit=True, application_name=sys.argv[1], client_encoding="utf-8")
for sql in sys.stdin.read().split("\0")[:-1]:
    try:
        cursor = connection.cursor().execute(sql)
        if cursor.description is None:
            print("done")
        else:
            print("rows" if cursor.fetchall() else "no rows")
    except psycopg.Error as error:
        print(error.sqlstate, error.diag.message_primary)

"""Arguments: port, authority, user, password. Prints what it reads."""
import io
import sys

import psycopg2

port, authority, user, password = sys.argv[1:]
connection = psycopg2.connect(
    host="localhost", port=port, dbname="postgres", user=user, password=password,
    sslmode="verify-full", sslrootcert=authority,
)
with connection, connection.cursor() as cursor:
    cursor.execute("CREATE TEMP TABLE copied (n int, t text)")
    cursor.copy_expert("COPY copied FROM STDIN", io.StringIO("1\tone\n2\ttwo\n"))
    cursor.execute("SELECT sum(n), string_agg(t, ',') FROM copied WHERE n < %s", (3,))
    print(*cursor.fetchone())
    out = io.StringIO()
    cursor.copy_expert("COPY copied TO STDOUT", out)
    print(len(out.getvalue()))
try:
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT 1 / 0")
except psycopg2.Error as error:
    print(error.pgcode)
connection.close()

"""Arguments: port, authority, user, password. Prints what it reads."""
import asyncio
import ssl
import sys

import asyncpg

port, authority, user, password = sys.argv[1:]


async def main():
    connection = await asyncpg.connect(
        host="localhost", port=int(port), database="postgres", user=user, password=password,
        ssl=ssl.create_default_context(cafile=authority),
    )
    async with connection.transaction():
        total = 0
        async for row in connection.cursor("SELECT n FROM generate_series(1, $1::int) AS n", 100, prefetch=7):
            total += row["n"]
        print(total)
    try:
        await connection.fetchval("SELECT 1 / $1::int", 0)
    except asyncpg.PostgresError as error:
        print(error.sqlstate)
    await connection.close()


asyncio.run(main())

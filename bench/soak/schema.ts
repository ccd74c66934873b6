/** The tables that the clients write to. */

/** Accounts of each pool, few enough for transfers to meet at one. */
export const ACCOUNTS_PER_POOL = 40

export function accountId(pool: number, index: number): number {
  return pool * ACCOUNTS_PER_POOL + index
}

/**
 * No key is unique: what comes twice must be found, and not refused. Each row keeps the number of the transaction that wrote
 * it, so that a statement that ran outside of its transaction is found, too.
 *
 * `lingers` makes a COMMIT last a while, so that connections die in it by chance.
 */
export function schemaOf(pools: number, roles: readonly string[]): string[] {
  return [
    'CREATE TABLE note (id int NOT NULL, xact xid8 NOT NULL DEFAULT pg_current_xact_id())',
    `CREATE TABLE leg (id int NOT NULL, account int NOT NULL, amount int NOT NULL, lingers boolean NOT NULL,
       xact xid8 NOT NULL DEFAULT pg_current_xact_id())`,
    'CREATE TABLE account (id int PRIMARY KEY, balance int NOT NULL) WITH (fillfactor = 20)',
    'CREATE TABLE stray (id int NOT NULL)',
    `INSERT INTO account SELECT id, 0 FROM generate_series(0, ${accountId(pools, 0) - 1}) id`,
    `CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql AS
       $$ BEGIN PERFORM pg_sleep(0.02); RETURN NULL; END $$`,
    `CREATE CONSTRAINT TRIGGER linger AFTER INSERT ON leg DEFERRABLE INITIALLY DEFERRED
       FOR EACH ROW WHEN (NEW.lingers) EXECUTE FUNCTION linger()`,
    `GRANT ALL ON note, leg, account, stray TO ${roles.join(', ')}`,
  ]
}

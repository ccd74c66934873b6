/** Everything that can happen to a connection in use. */
import { createDeferred } from '../../support/deferred.js'
import type { TransactionStatements } from '../../clients/client.js'
import { BLOCKED } from '../rig.js'
import { eventually } from '../../support/eventually.js'
import type { Scenario } from './scenario.js'

export const STATEMENT_SCENARIOS = {
  'killed while idle': async ({ rig, client, noticed }) => {
    await client.run('SELECT 1')
    await rig.kill()
    await noticed()
  },
  'killed while idle, before the client could notice': async ({ rig, client }) => {
    await client.run('SELECT 1')
    rig.relay.hold()
    await rig.kill()
    const query = client.run('SELECT 1')
    rig.relay.release()
    await query
  },
  'killed in a statement': async ({ rig, client }) => {
    const unlock = await rig.lock()
    const query = client.run(BLOCKED)
    query.catch(() => {})
    await rig.kill(await rig.blocked())
    await unlock()
    await query
  },
  'cut in a statement': async ({ rig, client }) => {
    await client.run('SELECT 1')
    rig.gateway.faults.cut({ at: 'statement' })
    await client.run('SELECT 1')
  },
  // Some clients start each connection with their own statements.
  'cut in the first statement of a connection': async ({ rig, client }) => {
    rig.gateway.faults.cut({ at: 'statement' })
    await client.run('SELECT 1')
  },
  'a conflict in the first statement of a connection': async ({ rig, client }) => {
    rig.gateway.faults.raiseConflicts({ at: 'statement' })
    await client.run('SELECT 1')
  },
} as const satisfies Record<string, Scenario>

export const TRANSACTION_SCENARIOS = {
  'killed before BEGIN, before the client could notice': async ({ rig, client, transaction }) => {
    await client.run('SELECT 1')
    rig.relay.hold()
    await rig.kill()
    const run = transaction((statements) => statements.addNote(1))
    run.catch(() => {})
    rig.relay.release()
    await run
  },
  'killed in a statement of a transaction': async ({ rig, transaction }) => {
    const unlock = await rig.lock()
    const run = transaction(async (statements) => {
      await statements.addNote(1)
      await statements.run(BLOCKED)
    })
    run.catch(() => {})
    await rig.kill(await rig.blocked())
    await unlock()
    await run
  },
  'killed in a statement of a transaction that continues': async ({ rig, transaction }) => {
    const unlock = await rig.lock()
    const run = transaction(async (statements) => {
      await statements.addNote(1)
      const failure = await failureOf(statements.run(BLOCKED))
      await failureOf(statements.addNote(2))
      await failureOf(statements.addNote(3))
      throw failure
    })
    run.catch(() => {})
    await rig.kill(await rig.blocked())
    await unlock()
    await run
  },
  'killed between the statements': async ({ rig, noticed, transaction }) => {
    await transaction(async (statements) => {
      await statements.addNote(1)
      await rig.kill()
      await noticed()
      await statements.addNote(2)
    })
  },
  'killed between the statements, while a query waits for the connection': async ({
    rig,
    client,
    entry,
    noticed,
    transaction,
  }) => {
    let waiting: Promise<unknown> = Promise.resolve()
    const run = transaction(async (statements) => {
      await statements.addNote(1)
      waiting = client.run('SELECT 1')
      waiting.catch(() => {})
      await rig.kill()
      if (entry.reopensEarly) await waiting
      else await noticed()
      await statements.addNote(2)
      await statements.addNote(3)
    })
    await failureOf(run)
    await waiting
    await run
  },
  'killed between the statements, and its function continues regardless': async ({
    rig,
    noticed,
    transaction,
  }) => {
    await transaction(async (statements) => {
      await statements.addNote(1)
      await rig.kill()
      await noticed()
      await failureOf(statements.addNote(2))
    })
  },
  'killed between the statements, and its function returns': async ({
    rig,
    noticed,
    transaction,
  }) => {
    await transaction(async (statements) => {
      await statements.addNote(1)
      await rig.kill()
      await noticed()
    })
  },
  'killed between BEGIN and the first statement': async ({ rig, noticed, transaction }) => {
    await transaction(async () => {
      await rig.kill()
      await noticed()
    })
  },
  'reset between the statements, and its function returns': async ({
    rig,
    noticed,
    transaction,
  }) => {
    await transaction(async (statements) => {
      await statements.addNote(1)
      rig.relay.reset()
      await noticed()
    })
  },
  'killed while a statement that is not awaited is running': async ({ rig, transaction }) => {
    const unlock = await rig.lock()
    const { promise: blocked, resolve } = createDeferred<number>()
    const run = transaction(async (statements) => {
      await statements.addNote(1)
      statements.run(BLOCKED).catch(() => {})
      // Some clients send a statement a moment later. COMMIT waits for it.
      resolve(await rig.blocked())
    })
    run.catch(() => {})
    await rig.kill(await blocked)
    await unlock()
    await run
  },
  'killed between the statements, and its function fails with another error': async ({
    rig,
    noticed,
    transaction,
  }) => {
    await transaction(async (statements) => {
      await statements.addNote(1)
      await rig.kill()
      await noticed()
      throw Object.assign(new Error('no more of this'), { code: 'OUT_OF_STOCK' })
    })
  },
  'killed in a savepoint': async ({ rig, noticed, transaction }) => {
    await transaction(async (statements) => {
      await statements.addNote(1)
      const nested = statements.nested ?? flat(statements)
      await nested(async (inner) => {
        await inner.addNote(2)
        await rig.kill()
        await noticed()
        await inner.addNote(3)
      })
    })
  },
  'killed in a statement of a savepoint': async ({ rig, transaction }) => {
    const unlock = await rig.lock()
    const run = transaction(async (statements) => {
      await statements.addNote(1)
      const nested = statements.nested ?? flat(statements)
      await nested((inner) => inner.run(BLOCKED))
    })
    run.catch(() => {})
    await rig.kill(await rig.blocked())
    await unlock()
    await run
  },
  'killed in COMMIT': async ({ rig, transaction }) => {
    await rig.admin(DEFERRED_BLOCK)
    const unlock = await rig.lock()
    try {
      const run = transaction((statements) => statements.addNote(1))
      run.catch(() => {})
      await rig.kill(await rig.blocked())
      await unlock()
      await run
    } finally {
      await rig.admin('DROP TRIGGER block ON note')
    }
  },
  'cut in COMMIT, before it took effect': async ({ rig, transaction }) => {
    rig.gateway.faults.cut({ at: 'before-commit' })
    await transaction((statements) => statements.addNote(1))
  },
  'cut in COMMIT, after it took effect': async ({ rig, transaction }) => {
    rig.gateway.faults.cut({ at: 'after-commit' })
    await transaction((statements) => statements.addNote(1))
  },
  'cut in a COMMIT that its function sends': async ({ rig, transaction }) => {
    await transaction(async (statements) => {
      await statements.addNote(1)
      rig.gateway.faults.cut({ at: 'after-commit' })
      await statements.run('COMMIT')
    })
  },
  'killed in ROLLBACK': async ({ rig, transaction }) => {
    const run = transaction(async (statements) => {
      await statements.addNote(1)
      rig.relay.hold()
      throw Object.assign(new Error('no more of this'), { code: 'OUT_OF_STOCK' })
    })
    run.catch(() => {})
    await eventually('the end of the transaction to start', rig.relay.isHolding)
    await rig.kill()
    rig.relay.release()
    await run
  },
  'a statement sent during COMMIT': async ({ rig, transaction }) => {
    let late: TransactionStatements | undefined
    const run = transaction(async (statements) => {
      await statements.addNote(1)
      late = statements
      rig.relay.hold()
    })
    await eventually('the end of the transaction to start', rig.relay.isHolding)
    const refused = failureOf(late!.addNote(2))
    rig.relay.release()
    await run
    await refused
  },
  'a statement sent during ROLLBACK': async ({ rig, transaction }) => {
    let late: TransactionStatements | undefined
    const run = transaction(async (statements) => {
      await statements.addNote(1)
      late = statements
      rig.relay.hold()
      throw Object.assign(new Error('no more of this'), { code: 'OUT_OF_STOCK' })
    })
    run.catch(() => {})
    await eventually('the end of the transaction to start', rig.relay.isHolding)
    const refused = failureOf(late!.addNote(2))
    rig.relay.release()
    await refused
    await run
  },
  'statements sent after the end': async ({ client, transaction }) => {
    let late: TransactionStatements | undefined
    await transaction(async (statements) => {
      await statements.addNote(1)
      late = statements
    })
    await failureOf(late!.addNote(2))
    // Another transaction may have the connection by now.
    await transaction(async (statements) => {
      await failureOf(late!.addNote(3))
      await statements.addNote(4)
    })
    await client.run('SELECT 1')
    await failureOf(late!.addNote(5))
  },
} as const satisfies Record<string, Scenario>

export type ScenarioName = keyof typeof STATEMENT_SCENARIOS | keyof typeof TRANSACTION_SCENARIOS

/** A trigger that runs at COMMIT, and waits there. */
const DEFERRED_BLOCK = `
  CREATE OR REPLACE FUNCTION block() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM pg_advisory_xact_lock(4711); RETURN NULL; END $$;
  CREATE CONSTRAINT TRIGGER block AFTER INSERT ON note DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION block()`

async function failureOf(work: Promise<unknown>): Promise<unknown> {
  try {
    await work
    return undefined
  } catch (error) {
    return error
  }
}

/** For clients without a savepoint API. */
function flat(statements: TransactionStatements): NonNullable<TransactionStatements['nested']> {
  return (work) => work(statements)
}

/** An application may load both the ESM and the CommonJS copy of the package. */
import assert from 'node:assert/strict'
import { createRequire } from 'node:module'

const require = createRequire(import.meta.url)

/** A login of one copy works in an adapter of the other, and errors of either are recognised. */
export async function checkTwoCopies() {
  const esm = await importedCopy()
  const cjs = requiredCopy()
  assert.notEqual(esm.core.PgIamError, cjs.core.PgIamError, 'these are two copies')
  for (const [own, other] of [
    [esm, cjs],
    [cjs, esm],
  ]) {
    const gateway = await own.gateway.startGateway()
    try {
      await checkConnection(gateway, own, other)
      checkErrors(own, other)
    } finally {
      await gateway.close()
    }
  }
}

async function importedCopy() {
  const [core, gateway, pg, postgresJs] = await Promise.all([
    import('pg-iam'),
    import('pg-iam/gateway'),
    import('pg-iam/pg'),
    import('pg-iam/postgres-js'),
  ])
  return { core, gateway, pg, postgresJs }
}

function requiredCopy() {
  return {
    core: require('pg-iam'),
    gateway: require('pg-iam/gateway'),
    pg: require('pg-iam/pg'),
    postgresJs: require('pg-iam/postgres-js'),
  }
}

/** The gateway creates its login with its own copy; the adapters are from the other one. */
async function checkConnection(gateway, own, other) {
  const login = own.core.auroraDsql({
    host: gateway.clusters[0],
    user: 'app',
    credentials: gateway.credentials,
    connectTo: { host: gateway.host, port: gateway.port },
    tls: { ca: gateway.ca },
  })
  const pool = other.pg.createPool(login, { max: 2 })
  const { rows } = await pool.query('SELECT current_user AS role')
  assert.deepEqual(rows, [{ role: 'app' }])
  const sql = other.postgresJs.createSql(login, { max: 1 })
  assert.deepEqual([...(await sql`SELECT 1 AS one`)], [{ one: 1 }])
  // The login counts the connections of the other copy's adapter.
  assert.equal(login.stats().connectionsOpened, 2)
  await Promise.all([pool.end(), sql.end()])
}

function checkErrors(own, other) {
  const error = new own.core.PgIamError('ERR_CLOSED', 'closed')
  assert.equal(error instanceof other.core.PgIamError, false)
  assert.equal(other.core.isPgIamError(error, 'ERR_CLOSED'), true)
}

import { Client, type ClientConfig } from 'pg'
import { createCertificates } from '../../../gateway/certificates/gateway-certificates.js'
import { launchPostgres, type PostgresServer } from './launch-postgres.js'

let server: PostgresServer
let ca: string

beforeAll(async () => {
  const made = await createCertificates(['localhost'])
  ca = made.ca
  server = await launchPostgres({
    roles: ['app', 'guest'],
    tls: { certificate: made.certificate, privateKey: made.privateKey },
    accessRules: ['hostssl all guest all trust', 'host all guest all reject'],
  })
})
afterAll(() => server?.close())

async function usesTls(config: ClientConfig): Promise<unknown> {
  const { host, port, database } = server
  const client = new Client({ host, port, database, ...config })
  try {
    await client.connect()
    const { rows } = await client.query<{ ssl: boolean }>(
      'SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()',
    )
    return rows[0]?.ssl
  } finally {
    await client.end()
  }
}

const verified = (servername = 'localhost'): ClientConfig => ({ ssl: { ca, servername } })

describe('launchPostgres with a certificate and rules of access', () => {
  it('speaks TLS with that certificate', async () => {
    expect(await usesTls({ user: 'guest', ...verified() })).toBe(true)
    const elsewhere = usesTls({ user: 'guest', ...verified('db.example.com') })
    await expect(elsewhere).rejects.toMatchObject({ code: 'ERR_TLS_CERT_ALTNAME_INVALID' })
    const untrusting = usesTls({ user: 'guest', ssl: { servername: 'localhost' } })
    await expect(untrusting).rejects.toThrow('certificate')
  })

  it('lets in whom the rules let in, and everybody else as without them', async () => {
    await expect(usesTls({ user: 'guest' })).rejects.toMatchObject({ code: '28000' })
    const { password } = server
    expect(await usesTls({ user: 'app', password, ...verified() })).toBe(true)
    expect(await usesTls({ user: 'app', password })).toBe(false)
    const wrong = usesTls({ user: 'app', password: 'wrong', ...verified() })
    await expect(wrong).rejects.toMatchObject({ code: '28P01' })
  })
})

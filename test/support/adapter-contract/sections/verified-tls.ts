/** Tokens are sent only over encrypted and verified connections, whatever the server or the environment request. */
import { createCertificates } from '../../../../gateway/certificates.js'
import { childLogin, runChild } from '../child-run.js'
import type { Attempt } from '../child/hostile-server.js'
import type { ContractContext } from '../contract-context.js'
import { type RecordingServer, SSL_REQUEST, startRecordingServer } from '../recording-server.js'

export function describeVerifiedTls(context: ContractContext): void {
  const servers: RecordingServer[] = []
  let attempts: readonly Attempt[]
  let received: readonly string[]

  beforeAll(async () => {
    const { stand } = context.server()
    const trusted = await createCertificates(['elsewhere.example.com', 'localhost', '127.0.0.1'])
    const strange = await createCertificates([stand.options.host])
    const kinds = [
      { name: 'without TLS', certificates: undefined, ca: trusted.ca },
      { name: 'with an untrusted certificate', certificates: strange, ca: trusted.ca },
      { name: 'with a certificate for another name', certificates: trusted, ca: trusted.ca },
    ]
    const targets = await Promise.all(
      kinds.map(async ({ name, certificates, ca }) => {
        const server = await startRecordingServer(certificates)
        servers.push(server)
        return { name, ca, port: server.port }
      }),
    )
    const { client, entry } = context
    const login = await childLogin(context.server())
    const { report } = await runChild<Attempt[]>({
      task: 'hostile-server',
      client,
      entry: entry.name,
      login,
      targets,
    })
    attempts = report ?? []
    received = servers.map((server) => server.received())
  })

  afterAll(() => Promise.all(servers.map((server) => server.close())))

  /** Only the SSLRequest: a client that continues has sent its startup packet, if not its token. */
  it.each([
    [0, 'without TLS'],
    [1, 'with an untrusted certificate'],
    [2, 'with a certificate for another name'],
  ])('sends no token to server %i, %s, in any environment', (index, name) => {
    const ofServer = attempts.filter(({ target }) => target === name)
    expect(ofServer).toHaveLength(9)
    expect(ofServer.filter(({ outcome }) => outcome === 'connected')).toEqual([])
    const accepted = servers[index]!.accepted()
    expect(accepted).toBeGreaterThanOrEqual(9)
    expect(received[index]).toBe(SSL_REQUEST.toString('latin1').repeat(accepted))
  })
}

/** Options that conflict with the login are rejected, and the caller's options are not modified. */
import { createCertificates } from '../../../../gateway/certificates.js'
import type { ContractContext } from '../contract-context.js'
import { deepFreeze, snapshot } from '../caller-objects.js'
import { errorChain, rejectionOf } from '../error-chain.js'
import { type RecordingServer, startRecordingServer } from '../recording-server.js'

export function describeRefusals(context: ContractContext): void {
  const { entry } = context
  // Requests a password with and without TLS, so that a hook is called whether the client uses TLS or not.
  let recordingServer: RecordingServer

  beforeAll(async () => {
    recordingServer = await startRecordingServer(await createCertificates(['127.0.0.1']))
  })

  afterAll(() => recordingServer.close())

  it.each(entry.refusals)('rejects $what', async ({ options, code }) => {
    const given = { ...entry.options({ poolSize: 1, log: () => {} }), ...options }
    const { port, received } = recordingServer
    const login = context.server().login({ connectTo: { host: '127.0.0.1', port } })
    if (entry.refusesAt === 'construction') {
      expect(() => entry.open(login, given)).toThrow(expect.objectContaining({ code }))
    } else {
      const error = await rejectionOf(context.open(login, { options: given }).run('SELECT 1'))
      expect(errorChain(error)).toContainEqual(expect.objectContaining({ code }))
    }
    expect(login.stats().tokensMade).toBe(0)
    expect(received()).not.toMatch(/X-Amz-|secret/)
  })

  it('accepts options that agree with the login', () => {
    const login = context.server().providerLogin()
    const options = entry.options({ poolSize: 1, log: () => {} })
    expect(() => context.open(login, { options })).not.toThrow()
  })
}

export function describeCallerObjects(context: ContractContext): void {
  const { entry } = context

  it('works with deeply frozen options', async () => {
    const options = deepFreeze(entry.options({ poolSize: 2, log: () => {} }))
    const db = context.open(context.server().providerLogin(), { options })
    expect(await db.run('SELECT 1 AS one')).toEqual([{ one: 1 }])
  })

  it('does not modify the options, so that another client can use them', async () => {
    const options = entry.options({ poolSize: 2, log: () => {} })
    const before = snapshot(options)
    for (let time = 1; time <= 2; time++) {
      const db = context.open(context.server().providerLogin(), { options })
      expect(await db.run('SELECT 1 AS one')).toEqual([{ one: 1 }])
      await db.close()
      expect(snapshot(options)).toEqual(before)
    }
  })
}

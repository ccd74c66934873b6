/** What contradicts the login is refused, and the caller's options stay as they are. */
import { createCertificates } from '../../../../gateway/certificates.js'
import type { ContractContext } from '../contract-context.js'
import { deepFreeze, snapshot } from '../caller-objects.js'
import { errorChain, rejectionOf } from '../error-chain.js'
import { type RecordingServer, startRecordingServer } from '../recording-server.js'

export function describeRefusals(context: ContractContext): void {
  const { variant } = context
  // Asks for a password with and without TLS, so that a hook is called whatever the client does about TLS.
  let recordingServer: RecordingServer

  beforeAll(async () => {
    recordingServer = await startRecordingServer(await createCertificates(['127.0.0.1']))
  })

  afterAll(() => recordingServer.close())

  it.each(variant.refusals)('refuses $what', async ({ options, code }) => {
    const given = { ...variant.options({ poolSize: 1, log: () => {} }), ...options }
    const { port, received } = recordingServer
    const login = context.server().login({ connectTo: { host: '127.0.0.1', port } })
    if (variant.refusesAt === 'construction') {
      expect(() => variant.open(login, given)).toThrow(expect.objectContaining({ code }))
    } else {
      const error = await rejectionOf(context.open(login, { options: given }).run('SELECT 1'))
      expect(errorChain(error)).toContainEqual(expect.objectContaining({ code }))
    }
    expect(login.stats().tokensMade).toBe(0)
    expect(received()).not.toMatch(/X-Amz-|secret/)
  })

  it('takes options that say the same as the login', () => {
    const login = context.server().providerLogin()
    const options = variant.options({ poolSize: 1, log: () => {} })
    expect(() => context.open(login, { options })).not.toThrow()
  })
}

export function describeCallerObjects(context: ContractContext): void {
  const { variant } = context

  it('works with options that are frozen through and through', async () => {
    const options = deepFreeze(variant.options({ poolSize: 2, log: () => {} }))
    const db = context.open(context.server().providerLogin(), { options })
    expect(await db.run('SELECT 1 AS one')).toEqual([{ one: 1 }])
  })

  it('leaves the options as they were, for another client to use', async () => {
    const options = variant.options({ poolSize: 2, log: () => {} })
    const before = snapshot(options)
    for (let time = 1; time <= 2; time++) {
      const db = context.open(context.server().providerLogin(), { options })
      expect(await db.run('SELECT 1 AS one')).toEqual([{ one: 1 }])
      await db.close()
      expect(snapshot(options)).toEqual(before)
    }
  })
}

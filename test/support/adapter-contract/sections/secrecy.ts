/** No token is ever seen: in logs, in errors, in whatever an application can print. */
import { atOnce, type ContractContext } from '../contract-context.js'
import { errorChain, rejectionOf } from '../error-chain.js'
import { exposedText } from '../exposed-text.js'
import { captureOutput } from '../output-capture.js'
import { watchSignatures } from '../signed-tokens.js'

export function describeSecrecy(context: ContractContext): void {
  const expectHidden = (text: string, signatures: () => readonly string[]): void => {
    expect(signatures().length).toBeGreaterThan(0)
    const { secretAccessKey } = context.server().gateway.credentials
    // Named by where it was found: the text around a secret is not for a test's report.
    const found = [...signatures(), secretAccessKey].filter((secret) => text.includes(secret))
    expect(found).toHaveLength(0)
  }

  it('shows no token in what an application can print', async () => {
    const signatures = watchSignatures()
    const login = context.server().login()
    const db = context.open(login, { poolSize: 3 })
    await atOnce(9, () => db.run('SELECT 1'))
    const whole = await db.transaction(async (transaction) => {
      await transaction.run('SELECT 1')
      // In the middle of a transaction the connection is in other places than at rest.
      expectHidden(db.objects.map(exposedText).join('\n'), signatures)
    })
    expect(whole).toBeUndefined()
    expectHidden([login, ...db.objects].map(exposedText).join('\n'), signatures)
  })

  it('writes no token to any log', async () => {
    const lines: string[] = []
    const output = captureOutput()
    const signatures = watchSignatures()
    const login = context.server().login()
    const db = context.open(login, { poolSize: 3, log: (line) => lines.push(line) })
    await atOnce(9, () => db.run('SELECT 1'))
    await db.addNote(context.nextId(), 'text')
    await rejectionOf(db.run('SELECT 1 / 0'))
    await db.close()
    expectHidden([...lines, output()].join('\n'), signatures)
  })

  it('shows no token after logins that the server refused', async () => {
    const { gateway, login: loginTo } = context.server()
    const credentials = gateway.issueCredentials()
    gateway.revokeCredentials(credentials.accessKeyId)
    const lines: string[] = []
    const output = captureOutput()
    const signatures = watchSignatures()
    const login = loginTo({ credentials })
    const db = context.open(login, { poolSize: 3, log: (line) => lines.push(line) })
    const errors = await atOnce(3, () => rejectionOf(db.run('SELECT 1')))
    const texts = [...errors.flatMap(errorChain), ...db.objects].map(exposedText)
    expectHidden([...texts, ...lines, output()].join('\n'), signatures)
    expect(texts.join('\n')).not.toContain(credentials.secretAccessKey)
    expect(texts.join('\n')).not.toContain(credentials.sessionToken)
  })

  it('shows no token after sessions that broke', async () => {
    const signatures = watchSignatures()
    const login = context.server().login()
    const db = context.open(login, { poolSize: 3 })
    await atOnce(9, () => db.run('SELECT 1'))
    context.server().relay.cut()
    const errors = await atOnce(9, async () => {
      try {
        return await db.run('SELECT 1')
      } catch (error) {
        return error
      }
    })
    expectHidden(
      [...errors.flatMap(errorChain), ...db.objects].map(exposedText).join('\n'),
      signatures,
    )
  })
}

/** No token is ever seen: in logs, in errors, in whatever an application can print. */
import { atOnce, type ContractContext } from '../contract-context.js'
import { errorChain, rejectionOf } from '../error-chain.js'
import { exposedText } from '../exposed-text.js'
import { captureOutput } from '../output-capture.js'

export function describeSecrecy(context: ContractContext): void {
  const watchSecrets = () => context.server().stand.watchSecrets()
  const expectHidden = (text: string, secrets: () => readonly string[]): void => {
    expect(secrets().length).toBeGreaterThan(0)
    // Counted, and not shown: the text around a secret is not for a test's report.
    const found = secrets().filter((secret) => text.includes(secret))
    expect(found).toHaveLength(0)
  }

  it('shows no token in what an application can print', async () => {
    const secrets = watchSecrets()
    const login = context.server().providerLogin()
    const db = context.open(login, { poolSize: 3 })
    await atOnce(9, () => db.run('SELECT 1'))
    const whole = await db.transaction(async (transaction) => {
      await transaction.run('SELECT 1')
      // In the middle of a transaction the connection is in other places than at rest.
      expectHidden(db.objects.map(exposedText).join('\n'), secrets)
    })
    expect(whole).toBeUndefined()
    expectHidden([login, ...db.objects].map(exposedText).join('\n'), secrets)
  })

  it('writes no token to any log', async () => {
    const lines: string[] = []
    const output = captureOutput()
    const secrets = watchSecrets()
    const login = context.server().providerLogin()
    const db = context.open(login, { poolSize: 3, log: (line) => lines.push(line) })
    await atOnce(9, () => db.run('SELECT 1'))
    await db.addNote(context.nextId(), 'text')
    await rejectionOf(db.run('SELECT 1 / 0'))
    await db.close()
    expectHidden([...lines, output()].join('\n'), secrets)
  })

  it('shows no token after logins that the server refused', async () => {
    const { gateway, providerLogin, stand } = context.server()
    const lines: string[] = []
    const output = captureOutput()
    const secrets = watchSecrets()
    const issued = await stand.issue(gateway, { durationSecs: 3_600 })
    issued.revoke()
    const login = providerLogin({}, () => issued.given)
    const db = context.open(login, { poolSize: 3, log: (line) => lines.push(line) })
    const errors = await atOnce(3, () => rejectionOf(db.run('SELECT 1')))
    const texts = [...errors.flatMap(errorChain), ...db.objects].map(exposedText)
    expectHidden([...texts, ...lines, output()].join('\n'), secrets)
    expectHidden(texts.join('\n'), () => issued.secrets)
  })

  it('shows no token after sessions that broke', async () => {
    const secrets = watchSecrets()
    const login = context.server().providerLogin()
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
      secrets,
    )
  })
}

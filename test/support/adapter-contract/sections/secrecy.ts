/** Tokens are never exposed in logs, errors, or objects that an application can print. */
import { atOnce, type ContractContext } from '../contract-context.js'
import { errorChain, rejectionOf } from '../error-chain.js'
import { exposedText } from '../exposed-text.js'
import { captureOutput } from '../output-capture.js'

export function describeSecrecy(context: ContractContext): void {
  const watchSecrets = () => context.server().stand.watchSecrets()
  const expectHidden = (text: string, secrets: () => readonly string[]): void => {
    expect(secrets().length).toBeGreaterThan(0)
    // Only counted, because the text around a secret must not appear in a test report.
    const found = secrets().filter((secret) => text.includes(secret))
    expect(found).toHaveLength(0)
  }

  it('exposes no token in objects that an application can print', async () => {
    const secrets = watchSecrets()
    const login = context.server().providerLogin()
    const db = context.open(login, { poolSize: 3 })
    await atOnce(9, () => db.run('SELECT 1'))
    const whole = await db.ownTransaction(async (transaction) => {
      await transaction.run('SELECT 1')
      // During a transaction the connection is referenced elsewhere than when it is idle.
      expectHidden(db.objects.map(exposedText).join('\n'), secrets)
    })
    expect(whole).toBeUndefined()
    expectHidden([login, ...db.objects].map(exposedText).join('\n'), secrets)
  })

  it('writes no token to a log', async () => {
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

  it('exposes no token after logins that the server refused', async () => {
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

  it('exposes no token after lost sessions', async () => {
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

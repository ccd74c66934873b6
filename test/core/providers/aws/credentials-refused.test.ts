import type { AwsCredentials } from '../../../../core/index.js'
import {
  createCredentialsSource,
  type CredentialsSource,
} from '../../../../core/providers/aws/credentials.js'
import { createLoginCounters } from '../../../../core/tokens/token-source.js'
import { AUTHENTICATION_OK, errorResponse, GREETING } from '../../support/backend-messages.js'
import { CREDENTIALS } from '../../support/dsql-options.js'
import { receiveLogin, type StandIn, startStandIn } from '../../support/postgres-stand-in.js'
import { presigned } from '../../support/presigned.js'
import { startRawClient } from '../../support/raw-client.js'

interface Source {
  source: CredentialsSource
  calls: () => number
  pass: (ms: number) => void
}

/** A source whose provider returns `answer` for the number of the call. */
function sourceOf(answer: (call: number) => AwsCredentials | Promise<AwsCredentials>): Source {
  let now = 1_700_000_000_000
  let calls = 0
  const settings = {
    provider: async () => answer(++calls),
    tokenDurationMs: 900_000,
    lookedFor: '',
    counters: createLoginCounters(),
  }
  const source = createCredentialsSource(settings, () => now)
  return { source, calls: () => calls, pass: (ms) => (now += ms) }
}

const named = (accessKeyId: string): AwsCredentials => ({ ...CREDENTIALS, accessKeyId })

describe('renewAfterRefusal', () => {
  it('loads new credentials, which are used from then on', async () => {
    const { source, calls } = sourceOf((call) => named(`AKIA${call}`))
    await source()
    expect(source.replacements()).toBe(0)
    await expect(source.renewAfterRefusal()).resolves.toBe(true)
    await expect(source()).resolves.toMatchObject({ accessKeyId: 'AKIA2' })
    expect([calls(), source.replacements()]).toEqual([2, 1])
  })

  it('resolves with false if there are no new ones, and calls the provider at most once in five seconds', async () => {
    const { source, calls, pass } = sourceOf(() => named('AKIA'))
    await source()
    await expect(
      Promise.all([source.renewAfterRefusal(), source.renewAfterRefusal()]),
    ).resolves.toEqual([false, false])
    pass(4_999)
    await expect(source.renewAfterRefusal()).resolves.toBe(false)
    expect(calls()).toBe(2)
    pass(1)
    await expect(source.renewAfterRefusal()).resolves.toBe(false)
    expect([calls(), source.replacements()]).toEqual([3, 0])
  })

  it('treats a new session token or secret key as new credentials', async () => {
    for (const change of [{ sessionToken: 'new' }, { secretAccessKey: 'new' }]) {
      const { source } = sourceOf((call) => ({ ...CREDENTIALS, ...(call > 1 ? change : {}) }))
      await source()
      await expect(source.renewAfterRefusal()).resolves.toBe(true)
    }
  })

  it('does not reject if the provider fails, and keeps the current credentials', async () => {
    const { source, calls } = sourceOf((call) =>
      call === 1 ? named('AKIA1') : Promise.reject(new Error('vault is sealed')),
    )
    await source()
    await expect(source.renewAfterRefusal()).resolves.toBe(false)
    await expect(source()).resolves.toMatchObject({ accessKeyId: 'AKIA1' })
    expect(calls()).toBe(2)
  })
})

describe('a connection whose token is rejected', () => {
  let standIn: StandIn | undefined
  afterEach(async () => {
    await standIn?.close()
    standIn = undefined
  })

  it.each(['28000', '28P01', '08006'])(
    'with %s is retried with new credentials, if there are any',
    async (code) => {
      const seen: string[] = []
      standIn = await startStandIn(async (socket, keys) => {
        const { socket: secured, password } = await receiveLogin(socket, keys)
        const { accessKeyId } = presigned(password)
        seen.push(accessKeyId)
        secured.resume()
        if (accessKeyId === 'AKIA1') secured.end(errorResponse(code, 'access denied'))
        else secured.write(Buffer.concat([AUTHENTICATION_OK, GREETING]))
      })
      let calls = 0
      const login = standIn.login({
        credentials: async () => named(`AKIA${++calls}`),
        reuseTokenSecs: 60,
      })
      const client = startRawClient(login)
      expect(await client.receive(AUTHENTICATION_OK.length)).toEqual(
        Buffer.concat([AUTHENTICATION_OK, GREETING]),
      )
      expect(seen).toEqual(['AKIA1', 'AKIA2'])
      // A token that could be shared is also signed with the new credentials.
      expect(presigned(await login.password()).accessKeyId).toBe('AKIA2')
      client.stream.destroy()
      await standIn.idle()
    },
  )

  it("fails with the server's error, after one attempt, if there are no new credentials", async () => {
    const refusal = errorResponse('28000', 'access denied')
    standIn = await startStandIn(async (socket, keys) => {
      const { socket: secured } = await receiveLogin(socket, keys)
      secured.resume().end(refusal)
    })
    let calls = 0
    const credentials = async (): Promise<AwsCredentials> => {
      calls++
      return CREDENTIALS
    }
    const login = standIn.login({ credentials })
    for (let connection = 0; connection < 3; connection++) {
      const client = startRawClient(login)
      expect(await client.closed).toBeUndefined()
      expect(client.received()).toEqual(refusal)
    }
    expect([standIn.accepted(), calls]).toEqual([3, 2])
  })
})

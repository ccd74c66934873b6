import { fromEnv } from '@aws-sdk/credential-providers'
import * as fc from 'fast-check'
import { environmentCredentials } from '../../../../core/providers/aws/credentials-provider.js'
import { HOST } from '../../support/dsql-options.js'
import { runNode } from '../../support/run-node.js'

const KEYS = { AWS_ACCESS_KEY_ID: 'AKIAENV', AWS_SECRET_ACCESS_KEY: 'secret' }
const surroundings = process.env
afterEach(() => void (process.env = surroundings))

describe('the credentials in the environment', () => {
  it('are those that the AWS SDK finds, whatever is set', async () => {
    const value = fc.constantFrom(undefined, '', 'some text')
    const end = fc.constantFrom(undefined, '', '2030-01-02T03:04:05Z')
    const environment = fc.record({
      AWS_ACCESS_KEY_ID: value,
      AWS_SECRET_ACCESS_KEY: value,
      AWS_SESSION_TOKEN: value,
      AWS_CREDENTIAL_EXPIRATION: end,
    })
    await fc.assert(
      fc.asyncProperty(environment, async (given) => {
        process.env = Object.fromEntries(
          Object.entries(given).filter(([, text]) => text !== undefined),
        )
        const expected = await fromEnv()().catch(() => undefined)
        // The SDK adds their source, for its own statistics.
        const { $source: _source, ...bare } = (expected ?? {}) as Record<string, unknown>
        expect(environmentCredentials(process.env)).toEqual(
          expected === undefined ? undefined : bare,
        )
      }),
      { numRuns: 100 },
    )
  })

  it('are ignored if AWS_PROFILE selects another source', () => {
    expect(environmentCredentials({ ...KEYS, AWS_PROFILE: 'dev' })).toBeUndefined()
    expect(environmentCredentials({ ...KEYS, AWS_PROFILE: '' })).toEqual({
      accessKeyId: 'AKIAENV',
      secretAccessKey: 'secret',
    })
  })

  it.each([
    ['without the chain of the SDK', KEYS, []],
    ['with the chain of the SDK, if there are none', {}, ['@aws-sdk/credential-providers']],
  ])('are used for the first token %s', async (_label, env, expected) => {
    const { result } = await runNode(
      `
      const { auroraDsql } = require('./dist/cjs/core/index.js')
      auroraDsql({ host: '${HOST}', user: 'app' }).token().catch(() => {}).then(() => {
        const chain = ['@aws-sdk/credential-providers'].filter((name) =>
          Object.keys(require.cache).some((path) => path.includes('/node_modules/' + name + '/')))
        console.log(JSON.stringify(chain))
      })
      `,
      { env: { AWS_CONFIG_FILE: '/none', AWS_SHARED_CREDENTIALS_FILE: '/none', ...env } },
    )
    expect(result).toEqual(expected)
  })
})

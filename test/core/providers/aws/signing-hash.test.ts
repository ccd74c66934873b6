import { createHash, createHmac } from 'node:crypto'
import { DsqlSigner } from '@aws-sdk/dsql-signer'
import * as fc from 'fast-check'
import { createSigningHash } from '../../../../core/providers/aws/signing-hash.js'
import { CREDENTIALS, HOST } from '../../support/dsql-options.js'
import { stopDateAt } from '../../support/stop-date.js'

type Secret = string | Uint8Array | ArrayBuffer

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex')
}

function expected(secret: Secret | undefined, data: Uint8Array): string {
  if (secret === undefined) return createHash('sha256').update(data).digest('hex')
  const key = secret instanceof ArrayBuffer ? Buffer.from(secret) : secret
  return createHmac('sha256', key).update(data).digest('hex')
}

describe('createSigningHash', () => {
  it('hashes as Node does, whatever was hashed before', async () => {
    // Few of each, so that one often meets the other again.
    const secret = fc.constantFrom<Secret | undefined>(
      undefined,
      '',
      'secret',
      'AWS4secret',
      new Uint8Array([1, 2, 3]),
      new Uint8Array([4, 5]).buffer,
    )
    const data = fc.constantFrom('', 'AKID', '20260304').map((text) => Buffer.from(text))
    const calls = fc.array(fc.tuple(secret, fc.array(data, { maxLength: 3 })), { minLength: 1 })
    await fc.assert(
      fc.asyncProperty(calls, async (asked) => {
        const SigningHash = createSigningHash()
        for (const [key, chunks] of asked) {
          const made = new SigningHash(key)
          for (const chunk of chunks) made.update(chunk)
          expect(hex(await made.digest())).toBe(expected(key, Buffer.concat(chunks)))
        }
      }),
    )
  })

  it('begins anew when it is reset, and keeps what it was given apart from what becomes of that', async () => {
    const SigningHash = createSigningHash()
    const made = new SigningHash('secret')
    const data = Buffer.from('one')
    made.update(data)
    await made.digest()
    data.write('two')
    const other = new SigningHash('secret')
    other.update(data)
    expect(hex(await other.digest())).toBe(expected('secret', Buffer.from('two')))
    other.reset()
    expect(hex(await other.digest())).toBe(expected('secret', Buffer.alloc(0)))
  })

  it('signs for the next day as for this one', async () => {
    const settings = { hostname: HOST, region: 'us-east-1', credentials: CREDENTIALS }
    const ours = new DsqlSigner({ ...settings, sha256: createSigningHash() })
    for (const day of ['2031-03-04T23:59:59Z', '2031-03-05T00:00:00Z', '2031-03-05T00:00:01Z']) {
      stopDateAt(new Date(day))
      const token = await new DsqlSigner(settings).getDbConnectAuthToken()
      expect(await ours.getDbConnectAuthToken()).toBe(token)
    }
    jest.useRealTimers()
  })
})

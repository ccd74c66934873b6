import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as fc from 'fast-check'
import { isPgIamError } from '../../core/index.js'
import { certificateAuthority } from '../../core/tls.js'
import { thrownBy } from './support/caught.js'
import { createAuthority, type KeyPair } from './support/certificates.js'

let folder: string
let ca: string
let otherCa: string
let pair: KeyPair

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'pg-iam-ca-'))
  const authority = await createAuthority('One')
  ca = authority.ca
  pair = await authority.issue('localhost')
  otherCa = (await createAuthority('Two')).ca
})
afterAll(() => rmSync(folder, { recursive: true }))

function file(name: string, content: string): string {
  const path = join(folder, name)
  writeFileSync(path, content)
  return path
}

describe('certificateAuthority', () => {
  it('accepts PEM text, also as a Buffer, with CRLF line ends, or with text around it', () => {
    for (const pem of [
      ca,
      `${ca}\n${otherCa}`,
      ca.replaceAll('\n', '\r\n'),
      `# ours\n${ca}\n# end`,
    ]) {
      expect(certificateAuthority(pem, 'tls.ca')).toBe(pem)
      expect(certificateAuthority(Buffer.from(pem), 'tls.ca')).toBe(pem)
    }
  })

  it('reads a file once, synchronously', () => {
    const path = file('ca.pem', ca)
    expect(certificateAuthority(path, 'tls.ca')).toBe(ca)
    rmSync(path)
    expect(() => certificateAuthority(path, 'tls.ca')).toThrow('the file could not be read')
  })

  it('reports why a file cannot be read', () => {
    expect(
      thrownBy(() => certificateAuthority(join(folder, 'none.pem'), 'PGSSLROOTCERT')),
    ).toMatchObject({
      code: 'ERR_OPTION_INVALID',
      message:
        '"PGSSLROOTCERT" must be PEM text or the path of a PEM file, and the file could not be read',
      cause: { code: 'ENOENT' },
    })
    mkdirSync(join(folder, 'folder'))
    expect(thrownBy(() => certificateAuthority(join(folder, 'folder'), 'tls.ca'))).toMatchObject({
      cause: { code: 'EISDIR' },
    })
  })

  it.each([undefined, null, 5, '', [], {}, true, Buffer.alloc(0), new Uint8Array(3)])(
    'rejects %p',
    (value) => {
      expect(() => certificateAuthority(value, 'tls.ca')).toThrow(
        expect.objectContaining({
          code: 'ERR_OPTION_INVALID',
          message: expect.stringMatching(
            /^"tls\.ca" must be PEM text or the path of a PEM file, got /,
          ),
        }),
      )
    },
  )

  it('rejects text and files without a certificate, with which no server would be trusted', () => {
    for (const content of ['', 'hello', pair.key]) {
      expect(() => certificateAuthority(file('empty.pem', content), 'tls.ca')).toThrow(
        expect.objectContaining({ code: 'ERR_OPTION_INVALID' }),
      )
    }
    expect(() => certificateAuthority(pair.key, 'tls.ca')).toThrow(
      '"tls.ca" must be PEM text or the path of a PEM file, got a string of',
    )
  })

  it('rejects a malformed certificate, with the reason', () => {
    const damaged = [
      '-----BEGIN CERTIFICATE-----\nbm90IGEgY2VydGlmaWNhdGU=\n-----END CERTIFICATE-----\n',
      '-----BEGIN CERTIFICATE-----\n',
      ca.replace('-----END CERTIFICATE-----', ''),
      ca.slice(0, ca.length / 2),
      `${otherCa}\n${ca.replace('-----END CERTIFICATE-----', '')}`,
    ]
    for (const pem of damaged) {
      expect(thrownBy(() => certificateAuthority(pem, 'tls.ca'))).toMatchObject({
        code: 'ERR_OPTION_INVALID',
        message: '"tls.ca" contains a certificate that cannot be parsed',
      })
    }
    expect(thrownBy(() => certificateAuthority(damaged[0], 'tls.ca'))).toMatchObject({
      cause: expect.objectContaining({ code: expect.stringContaining('ERR_OSSL') }),
    })
  })

  it('accepts or rejects any text without other errors', () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), fc.boolean(), (before, after, isPem) => {
        const text = isPem
          ? `${before}-----BEGIN CERTIFICATE-----${after}`
          : `${folder}/${before}${after}`
        expect(
          isPgIamError(
            thrownBy(() => certificateAuthority(text, 'tls.ca')),
            'ERR_OPTION_INVALID',
          ),
        ).toBe(true)
      }),
    )
  })
})

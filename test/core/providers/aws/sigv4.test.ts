import { parsePresignedToken, type PresignedToken } from '../../../../gateway/auth/presigned.js'
import { canonicalQuery, createSigner } from '../../../../core/providers/aws/sigv4.js'

const SCOPE = 'AKIDEXAMPLE%2F20150830%2Fus-east-1%2Fservice%2Faws4_request'
const SIGNED = `X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=${SCOPE}&X-Amz-Date=20150830T123600Z&X-Amz-SignedHeaders=host&X-Amz-Expires=3600`
const UNRESERVED = '-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
const SESSION = '6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267'

/** The presigned requests of AWS's test suite with the same form: GET, path "/", signed header "host". */
const AWS_TEST_SUITE: [name: string, query: string, signature: string][] = [
  ['get-vanilla-query', SIGNED, 'e93c787ed7f371d5c6b165c1b38ede9550f4dce4144713e844b25b7192d3865d'],
  [
    'get-vanilla-empty-query-key',
    `Param1=value1&${SIGNED}`,
    '49096700cbbaa5753443850f40df10f904fc2fdb544dc9512203cc77c471a9de',
  ],
  [
    'get-vanilla-query-order-key-case',
    `Param2=value2&Param1=value1&${SIGNED}`,
    '86012e2c9ad4d77369f5d81c11f75158aae4f895a085212cc6d3f923d300bed5',
  ],
  [
    'get-vanilla-query-unreserved',
    `${UNRESERVED}=${UNRESERVED}&${SIGNED}`,
    '8e76a88a7433637b12778d5592799b29ad21ecd6cf6325051c21d86f0acda2bf',
  ],
  [
    'get-vanilla-utf8-query',
    `ሴ=bar&${SIGNED}`,
    '0bdd809b1519ac4f0c1dc3540e2cc46bd0c7f778eda408b2ebf3b913d21ff600',
  ],
  [
    'get-vanilla-with-session-token',
    `${SIGNED}&X-Amz-Security-Token=${SESSION}`,
    '7ff2b50b376cb4d151970630573d6291dc128cc5c2a12ffb237f73cc53f67b6c',
  ],
]

describe('createSigner', () => {
  it.each(AWS_TEST_SUITE)("computes the signature of AWS's test %s", (_name, query, signature) => {
    const token = `example.amazonaws.com/?${query}&X-Amz-Signature=${signature}`
    const { request } = parsePresignedToken(token, 'host') as PresignedToken
    const sign = createSigner('wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY')
    expect(sign(request).toString('hex')).toBe(signature)
  })

  it("computes the signature of AWS's example of a presigned URL", () => {
    // https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html
    const sign = createSigner('wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY')
    const signature = sign({
      host: 'examplebucket.s3.amazonaws.com',
      path: '/test.txt',
      query: canonicalQuery([
        ['X-Amz-SignedHeaders', 'host'],
        ['X-Amz-Date', '20130524T000000Z'],
        ['X-Amz-Expires', '86400'],
        ['X-Amz-Credential', 'AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request'],
        ['X-Amz-Algorithm', 'AWS4-HMAC-SHA256'],
      ]),
      timestamp: '20130524T000000Z',
      scope: { date: '20130524', region: 'us-east-1', service: 's3' },
      payloadHash: 'UNSIGNED-PAYLOAD',
    })
    expect(signature.toString('hex')).toBe(
      'aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404',
    )
  })

  it('computes the same signatures after more days than it caches keys for', () => {
    const signOn = (date: string, sign = createSigner('secret')): string =>
      sign({
        host: 'host',
        query: '',
        timestamp: `${date}T000000Z`,
        scope: { date, region: 'us-east-1', service: 'dsql' },
      }).toString('hex')
    const days = Array.from({ length: 40 }, (_, index) => String(20_260_101 + index))
    const byNewSigners = days.map((day) => signOn(day))
    const signer = createSigner('secret')
    expect(days.map((day) => signOn(day, signer))).toEqual(byNewSigners)
    expect(days.map((day) => signOn(day, signer))).toEqual(byNewSigners)
  })
})

import { presignedExpiry } from '../../../../core/providers/aws/presigned-expiry.js'
import { thrownBy } from '../../support/caught.js'

const END = Date.parse('2026-01-31T23:59:58Z') + 900_000
const expiryOf = (query: string): number => presignedExpiry(`h/?${query}`, 'rds', 'h')

describe('presignedExpiry', () => {
  it.each([
    'X-Amz-Date=20260131T235958Z&X-Amz-Expires=900',
    'Action=connect&X-Amz-Expires=900&X-Amz-Signature=0&X-Amz-Date=20260131T235958Z',
    'My-X-Amz-Date=20200101T000000Z&X-Amz-Expires=900&X-Amz-Date=20260131T235958Z',
    'X-Amz-Expires-Not=1&X-Amz-Date=20260131T235958Z&X-Amz-Expires=900',
  ])('is when the request of the query %s ends', (query) => {
    expect(expiryOf(query)).toBe(END)
  })

  it.each([
    '',
    'X-Amz-Date=20260131T235958Z',
    'X-Amz-Expires=900',
    'X-Amz-Date=2026-01-31T23:59:58Z&X-Amz-Expires=900',
    'X-Amz-Date=20260131T235958Z&X-Amz-Expires=',
    'X-Amz-Date=20260131T235958Z&X-Amz-Expires=9e9',
    'My-X-Amz-Date=20260131T235958Z&X-Amz-Expires=900',
  ])('refuses what is no presigned request: %s', (query) => {
    const error = thrownBy(() => expiryOf(query)) as Error
    expect(error).toMatchObject({ code: 'ERR_TOKEN_INVALID' })
    expect(error.message).toBe("rds: the signer's token for h is not a presigned request")
  })
})

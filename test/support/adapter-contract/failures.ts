/** Every way in which a request for credentials can fail. */
import type { PgIamErrorCode } from '../../../core/index.js'

export interface Failure {
  readonly name: string
  /** What the function does. `original` is the error that the application must get to see, where there is one. */
  readonly fail: (original: Error) => unknown
  readonly hasOriginal: boolean
  /** The code of ours in what the application gets. */
  readonly code: PgIamErrorCode
}

/** Those of any function that is to give something. */
export function failuresOf(code: PgIamErrorCode): readonly Failure[] {
  return [
    {
      name: 'throws',
      fail: (original) => {
        throw original
      },
      hasOriginal: true,
      code,
    },
    {
      name: 'rejects',
      fail: (original) => Promise.reject(original),
      hasOriginal: true,
      code,
    },
    {
      name: 'rejects with undefined',
      // oxlint-disable-next-line prefer-promise-reject-errors
      fail: () => Promise.reject(undefined),
      hasOriginal: false,
      code,
    },
    {
      name: 'never answers',
      fail: () => new Promise(() => {}),
      hasOriginal: false,
      code: 'ERR_TOKEN_TIMEOUT',
    },
  ]
}

/** And those of AWS credentials. */
export const AWS_FAILURES: readonly Failure[] = [
  ...failuresOf('ERR_CREDENTIALS_UNAVAILABLE'),
  {
    name: 'returns nothing',
    fail: () => undefined,
    hasOriginal: false,
    code: 'ERR_CREDENTIALS_UNAVAILABLE',
  },
  {
    name: 'returns a number',
    fail: () => 42,
    hasOriginal: false,
    code: 'ERR_CREDENTIALS_UNAVAILABLE',
  },
  {
    name: 'returns credentials without a key',
    fail: () => ({ accessKeyId: '', secretAccessKey: null }),
    hasOriginal: false,
    code: 'ERR_CREDENTIALS_UNAVAILABLE',
  },
  {
    name: 'returns credentials that have ended',
    fail: () => ({ accessKeyId: 'AKIA', secretAccessKey: 'secret', expiration: new Date(0) }),
    hasOriginal: false,
    code: 'ERR_CREDENTIALS_UNAVAILABLE',
  },
]

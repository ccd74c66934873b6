/** All ways in which a request for credentials can fail. */
import type { PgIamErrorCode } from '../../../core/index.js'

export interface Failure {
  readonly name: string
  /** The behaviour of the function. `original` is the error that the application must get, if there is one. */
  readonly fail: (original: Error) => unknown
  readonly hasOriginal: boolean
  /** The code of the PgIamError that the application gets. */
  readonly code: PgIamErrorCode
}

/** Failures of any function that returns a value. */
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

/** Additional failures of AWS credentials. */
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
    name: 'returns expired credentials',
    fail: () => ({ accessKeyId: 'AKIA', secretAccessKey: 'secret', expiration: new Date(0) }),
    hasOriginal: false,
    code: 'ERR_CREDENTIALS_UNAVAILABLE',
  },
]

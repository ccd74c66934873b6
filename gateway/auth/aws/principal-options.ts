/** Checks of the AWS principals that are given to a gateway. */
import { PgIamError } from '../../../core/errors.js'
import { checkOptions, invalidOption, type Check } from '../../../core/options/check.js'
import { roleNames } from '../role-names.js'
import type { PrincipalOptions } from './principals.js'

export const principalList: Check<readonly PrincipalOptions[]> = (value, name) => {
  if (!Array.isArray(value) || value.length === 0)
    throw invalidOption(name, 'an array of at least one principal', value)
  const checked = value.map((item: unknown, index) => principal(item, `${name}[${index}]`))
  const keys = checked.map(({ accessKeyId }) => accessKeyId)
  const twice = keys.findIndex((key, index) => keys.indexOf(key) !== index)
  if (twice !== -1) {
    throw new PgIamError(
      'ERR_OPTION_CONFLICT',
      `"${name}[${twice}].accessKeyId" must not be that of another principal`,
    )
  }
  return checked
}

const principal: Check<PrincipalOptions> = (value, name) => {
  const given = checkOptions(
    value,
    { accessKeyId, secretAccessKey: secret, sessionToken: secret, roles: roleNames },
    `${name}.`,
  )
  const { accessKeyId: id, secretAccessKey, sessionToken, roles } = given
  if (id === undefined) throw invalidOption(`${name}.accessKeyId`, 'an access key ID', undefined)
  if (secretAccessKey === undefined) throw missing(`${name}.secretAccessKey`)
  if (roles === undefined) throw invalidOption(`${name}.roles`, 'an array of role names', undefined)
  return {
    accessKeyId: id,
    secretAccessKey,
    roles,
    ...(sessionToken === undefined ? {} : { sessionToken }),
  }
}

const accessKeyId: Check<string> = (value, name) => {
  // AWS's own have 16 to 128 of these characters; made-up ones may be shorter.
  if (typeof value !== 'string' || !/^\w{1,128}$/.test(value))
    throw invalidOption(name, 'an access key ID of letters, digits and underscores', value)
  return value
}

const secret: Check<string> = (value, name) => {
  if (typeof value !== 'string' || value === '') throw missing(name)
  return value
}

/** Does not show what came: it may be the secret, with one bracket too many. */
function missing(name: string): PgIamError {
  return new PgIamError('ERR_OPTION_INVALID', `"${name}" must be a non-empty string`)
}

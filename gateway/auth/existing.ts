/** Whether there are the role and the database that a login asks for. */
import { fatal } from './refusal.js'
import { denied, type Denied, type LoginRequest } from './verifier.js'

/** Says as PostgreSQL does, once the client has shown who it is, that one of them is missing. */
export function missingTarget(
  { role, database }: LoginRequest,
  existing: { readonly roles: readonly string[]; readonly database: string },
): Denied | undefined {
  if (!existing.roles.includes(role))
    return denied(
      'role-unknown',
      'there is no such role',
      fatal('28000', `role "${role}" does not exist`),
    )
  if (database !== existing.database)
    return denied(
      'database-unknown',
      'there is no such database',
      fatal('3D000', `database "${database}" does not exist`),
    )
  return undefined
}

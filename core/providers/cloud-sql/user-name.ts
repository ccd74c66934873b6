/** The database user of an account of Google Cloud. */

/**
 * The name under which an account logs in to PostgreSQL: its e-mail address, for a service account without
 * `.gserviceaccount.com`, because PostgreSQL's names end after 63 bytes.
 * See https://cloud.google.com/sql/docs/postgres/iam-logins and
 * https://cloud.google.com/sql/docs/postgres/add-manage-iam-users
 */
export function databaseUser(email: string): string {
  return email.replace(/\.gserviceaccount\.com$/, '')
}

/** The host names of Google Cloud SQL instances. */

/**
 * Tells whether a name is one that Cloud SQL gives an instance: `ID.LABEL.REGION.sql.goog`, and `….sql-psa.goog` for private
 * services access. Instances without one are known by their IP addresses, which are nobody's in particular.
 * See https://cloud.google.com/sql/docs/postgres/configure-dns
 */
export function isCloudSqlHost(host: string): boolean {
  return /^([a-z0-9-]+\.)+sql(-psa)?\.goog$/.test(host)
}

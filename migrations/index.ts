/** The exports of `'pg-iam/migrations'`. */
export {
  createMigrator,
  type Migration,
  type MigrationProgress,
  type MigrationRun,
  type MigrationStatus,
  type Migrator,
  type MigratorOptions,
  type PooledConnection,
} from './migrator.js'
export type { StatementProgress } from './executor.js'
export { readMigrations } from './folder.js'
export type { Dialect, MigrationConnection } from './ledger.js'
export type { Batch } from './rewrite.js'
export {
  type DsqlProblem,
  type DsqlStatement,
  lintDsql,
  type StatementKind,
  toDsqlStatements,
} from './statements.js'

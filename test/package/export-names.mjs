/** What each subpath of the package exports at run time. Types come on top of these. */

export const EXPORT_NAMES = {
  '.': [
    'PgIamError',
    'auroraDsql',
    'cloudSql',
    'customLogin',
    'entra',
    'isOccConflict',
    'isPgIamError',
    'loginFromEnv',
    'loginFromUrl',
    'rds',
    'redshift',
    'retryOnConflict',
  ],
  './drizzle': ['drizzleClient', 'drizzleTransaction'],
  './drizzle-postgres-js': ['drizzleClient', 'drizzleTransaction'],
  './gateway': ['startGateway'],
  './knex': ['knexConfig', 'knexConnection', 'knexTransaction'],
  './pg': ['createClient', 'createPool', 'pgConfig', 'pgTransaction'],
  './postgres-js': ['createSql', 'postgresOptions', 'sqlTransaction'],
  './sequelize': ['sequelizeHook', 'sequelizeOptions', 'sequelizeTransaction'],
  './typeorm': ['typeormOptions', 'typeormPassword', 'typeormTransaction'],
}

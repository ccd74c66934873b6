/** The isolation level in the options of ORMs that would set it with SET TRANSACTION, which Aurora DSQL rejects. */
import { sequelizeOptions } from '../../adapters/sequelize.js'
import { sequelizeOptions as sequelize7Options } from '../../adapters/sequelize-7.js'
import { typeormOptions } from '../../adapters/typeorm.js'
import { auroraDsql, type Login, rds } from '../../core/index.js'

const dsql = auroraDsql({
  host: 'abcdefghijklmnopqrstuvwxyz.dsql.us-east-1.on.aws',
  user: 'app',
})
const other = rds({ host: 'db.c1a2b3c4d5e6.us-east-1.rds.amazonaws.com', user: 'app' })

const OPTIONS: readonly (readonly [string, (login: Login, options: object) => object])[] = [
  ['sequelizeOptions', sequelizeOptions],
  ['sequelizeOptions of Sequelize 7', sequelize7Options],
  ['typeormOptions', typeormOptions],
]

describe.each(OPTIONS)('%s', (_name, optionsOf) => {
  it('leaves REPEATABLE READ out for Aurora DSQL, whose transactions all have it', () => {
    const given = { isolationLevel: 'REPEATABLE READ' }
    expect(optionsOf(dsql, given)).not.toHaveProperty('isolationLevel')
    expect(given).toEqual({ isolationLevel: 'REPEATABLE READ' })
  })

  it('refuses any other level for Aurora DSQL, with which no transaction could begin', () => {
    expect(() => optionsOf(dsql, { isolationLevel: 'SERIALIZABLE' })).toThrow(
      expect.objectContaining({
        code: 'ERR_OPTION_CONFLICT',
        message:
          '"isolationLevel" must be "REPEATABLE READ" for Aurora DSQL, which has no other level, got "SERIALIZABLE"',
        hint: 'Remove it: transactions of Aurora DSQL are REPEATABLE READ.',
      }),
    )
  })

  it('passes each level on for another provider', () => {
    for (const isolationLevel of ['REPEATABLE READ', 'SERIALIZABLE'])
      expect(optionsOf(other, { isolationLevel })).toMatchObject({ isolationLevel })
  })
})

it('typeormOptions installs no extension on Aurora DSQL, and leaves that to TypeORM elsewhere', () => {
  expect(typeormOptions(dsql)).toMatchObject({
    installExtensions: false,
    uuidExtension: 'pgcrypto',
  })
  expect(typeormOptions(dsql, { uuidExtension: 'uuid-ossp' })).toMatchObject({
    uuidExtension: 'uuid-ossp',
  })
  for (const name of ['installExtensions', 'uuidExtension'])
    expect(typeormOptions(other)).not.toHaveProperty(name)
})

import { run, SYNC, useDsqlGateway, withClients } from '../../dsql/dsql-clients.js'

describe('Aurora DSQL on PGlite', () => {
  const gateway = useDsqlGateway({ engine: 'pglite' })

  it('has the same rules and limits as on PostgreSQL', () =>
    withClients(gateway(), async (client) => {
      expect(await client.ask('CREATE TABLE item (id serial)')).toEqual([
        'E 42704 type "serial" does not exist',
        'Z I',
      ])
      await client.ask('CREATE TABLE item (id int PRIMARY KEY)')
      expect(await client.ask('INSERT INTO item SELECT generate_series(1, 3001)')).toEqual([
        'E 54000 transaction row limit exceeded',
        'Z I',
      ])
      expect(
        await client.ask('BEGIN; INSERT INTO item SELECT generate_series(1, 3001); COMMIT'),
      ).toEqual(['C BEGIN', 'E 54000 transaction row limit exceeded', 'Z E'])
      await client.ask('ROLLBACK')
      expect(
        await client.ask(run('BEGIN'), run('INSERT INTO item VALUES (1)'), run('COMMIT'), SYNC),
      ).toEqual(['1', '2', 'C BEGIN', '1', '2', 'C INSERT 0 1', '1', '2', 'C COMMIT', 'Z I'])
      expect(await client.ask('SELECT count(*) FROM item')).toContain('D 1')
      const [columns, job] = await client.ask('CREATE INDEX ASYNC ON item (id)')
      expect([columns, job]).toEqual(['T job_id', expect.stringMatching(/^D [a-z2-7]{26}$/)])
    }))
})

import { forgetCloud } from '../../../bench/frame/surroundings.js'

describe('forgetCloud', () => {
  it('takes out what would lead a competitor elsewhere, and leaves the rest', () => {
    const environment = {
      PATH: '/bin',
      PG_BINDIR: '/opt/pg/bin',
      PGHOST: 'db.example.com',
      PGSSLMODE: 'require',
      AWS_PROFILE: 'production',
      AZURE_CLIENT_ID: 'mine',
      GOOGLE_APPLICATION_CREDENTIALS: '/key.json',
      NODE_OPTIONS: '--require ./apm.js',
    }
    forgetCloud(environment)
    expect(environment).toEqual({ PATH: '/bin', PG_BINDIR: '/opt/pg/bin' })
  })
})

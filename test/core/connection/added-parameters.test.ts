import { withAdded } from '../../../core/connection/added-parameters.js'

const given = new Map([
  ['application_name', 'shop'],
  ['options', '-c search_path=shop'],
])

describe('withAdded', () => {
  it('puts options behind those of the driver', () => {
    expect(withAdded(given, { options: '-c cluster=one' }).get('options')).toBe(
      '-c search_path=shop -c cluster=one',
    )
  })

  it('puts options where the driver has none', () => {
    expect([...withAdded(new Map(), { options: '-c cluster=one' })]).toEqual([
      ['options', '-c cluster=one'],
    ])
  })

  it('beats the driver with every other parameter', () => {
    expect(withAdded(given, { application_name: 'own' }).get('application_name')).toBe('own')
  })

  it('changes nothing where nothing is added, and never what it was given', () => {
    expect(withAdded(given)).toEqual(given)
    withAdded(given, { options: 'x' })
    expect(given.get('options')).toBe('-c search_path=shop')
  })
})

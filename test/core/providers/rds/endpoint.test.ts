import { isGlobalWriter, rdsEndpoint } from '../../../../core/providers/host-names.js'

const HASH = 'c1a2b3c4d5e6'

describe('an RDS endpoint', () => {
  it.each([
    [`shop.${HASH}.us-east-1.rds.amazonaws.com`, 'us-east-1'],
    [`shop-green-a1b2c3.${HASH}.us-east-1.rds.amazonaws.com`, 'us-east-1'],
    [`shop-old1.${HASH}.us-east-1.rds.amazonaws.com`, 'us-east-1'],
    [`shop.cluster-${HASH}.eu-west-1.rds.amazonaws.com`, 'eu-west-1'],
    [`shop.cluster-ro-${HASH}.eu-west-1.rds.amazonaws.com`, 'eu-west-1'],
    [`reports.cluster-custom-${HASH}.eu-west-1.rds.amazonaws.com`, 'eu-west-1'],
    [`shop.shardgrp-${HASH}.ap-southeast-2.rds.amazonaws.com`, 'ap-southeast-2'],
    [`shop.${HASH}.us-gov-west-1.rds.amazonaws.com`, 'us-gov-west-1'],
    [`shop.cluster-${HASH}.us-gov-east-1.rds-fips.amazonaws.com`, 'us-gov-east-1'],
    [`shop.${HASH}.rds.us-gov-west-1.amazonaws.com`, 'us-gov-west-1'],
    [`shop.${HASH}.rds.cn-north-1.amazonaws.com.cn`, 'cn-north-1'],
    [`shop.cluster-ro-${HASH}.rds.cn-northwest-1.amazonaws.com.cn`, 'cn-northwest-1'],
    [`shop.${HASH}.cn-north-1.rds.amazonaws.com.cn`, 'cn-north-1'],
    [`shop.cluster-${HASH}.cn-northwest-1.rds.amazonaws.com.cn`, 'cn-northwest-1'],
    [`shop.${HASH}.rds.us-iso-east-1.c2s.ic.gov`, 'us-iso-east-1'],
    [`shop.cluster-${HASH}.rds.us-isob-east-1.sc2s.sgov.gov`, 'us-isob-east-1'],
    [`shop.${HASH}.rds.eu-isoe-west-1.cloud.adc-e.uk`, 'eu-isoe-west-1'],
    [`shop.${HASH}.rds.us-isof-south-1.csp.hci.ic.gov`, 'us-isof-south-1'],
    [`shop.${HASH}.eusc-de-east-1.rds.amazonaws.eu`, 'eusc-de-east-1'],
  ])('%s is in %s', (host, region) => {
    expect(rdsEndpoint(host)).toEqual({ region, isProxy: false })
  })

  it.each([
    `shop.proxy-${HASH}.us-east-1.rds.amazonaws.com`,
    `reports.endpoint.proxy-${HASH}.us-east-1.rds.amazonaws.com`,
  ])('%s is a proxy endpoint', (host) => {
    expect(rdsEndpoint(host)).toEqual({ region: 'us-east-1', isProxy: true })
  })

  it.each([
    'db.example.com',
    'localhost',
    'rds.us-east-1.amazonaws.com',
    `${HASH}.us-east-1.rds.amazonaws.com`,
    `shop.${HASH}.us-east-1.rds.amazonaws.com.example.com`,
    `shop.${HASH}.us-east-1.rds.amazonaws.org`,
    `shop.${HASH}.us-east-1.rdsXamazonaws.com`,
    `shop.${HASH}.us-east-1.redshift.amazonaws.com`,
    `shop.other-${HASH}.us-east-1.rds.amazonaws.com`,
    `shop.global-${HASH}.global.rds.amazonaws.com`,
    `evil.example.com/shop.${HASH}.us-east-1.rds.amazonaws.com`,
    'abcdefghijklmnopqrstuvwx12.dsql.us-east-1.on.aws',
  ])('%s is not an endpoint', (host) => {
    expect(rdsEndpoint(host)).toBeUndefined()
  })
})

describe('the writer endpoint of a global database', () => {
  it('is recognised, and is not the endpoint of a region', () => {
    expect(isGlobalWriter('shop.global-a1b2c3.global.rds.amazonaws.com')).toBe(true)
    expect(isGlobalWriter(`shop.cluster-${HASH}.us-east-1.rds.amazonaws.com`)).toBe(false)
    expect(isGlobalWriter('shop.global-a1b2c3.global.rds.amazonaws.com.example.com')).toBe(false)
  })
})

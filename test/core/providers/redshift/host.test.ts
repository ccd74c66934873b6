import { redshiftEndpoint } from '../../../../core/providers/redshift/host.js'

describe('redshiftEndpoint', () => {
  it.each([
    ['shop.c0ffee12345.us-east-1.redshift.amazonaws.com', 'cluster', 'shop', 'us-east-1'],
    ['my-shop-2.abc.us-gov-west-1.redshift.amazonaws.com', 'cluster', 'my-shop-2', 'us-gov-west-1'],
    ['shop.abc.cn-north-1.redshift.amazonaws.com.cn', 'cluster', 'shop', 'cn-north-1'],
    [
      'default-wg.123456789012.eu-west-1.redshift-serverless.amazonaws.com',
      'workgroup',
      'default-wg',
      'eu-west-1',
    ],
    [
      'default.123456789012.cn-northwest-1.redshift-serverless.amazonaws.com.cn',
      'workgroup',
      'default',
      'cn-northwest-1',
    ],
  ])('reads %s', (host, kind, name, region) => {
    expect(redshiftEndpoint(host)).toEqual({ kind, name, region })
  })

  it.each([
    'redshift.us-east-1.amazonaws.com',
    'shop.us-east-1.redshift.amazonaws.com',
    'shop.abc.us-east-1.redshift.amazonaws.com.evil.example',
    'evil.example.shop.abc.us-east-1.redshift.amazonaws.com',
    'shop.abc.us-east-1.rds.amazonaws.com',
    'warehouse.shop.example',
    '127.0.0.1',
    '',
  ])('reads nothing in %p', (host) => {
    expect(redshiftEndpoint(host)).toBeUndefined()
  })
})

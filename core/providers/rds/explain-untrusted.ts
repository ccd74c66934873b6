/** What to do about an endpoint whose certificate nobody that is trusted has signed. */
import { isUntrustedCertificate } from '../../tls/certificate-errors.js'
import { rdsEndpoint } from './endpoint.js'

/**
 * Returns where to get the authorities of an endpoint, or `undefined` for another kind of error. The bundle that is trusted by
 * default has not those of every region.
 */
export function explainUntrusted(error: unknown, host: string): string | undefined {
  if (!isUntrustedCertificate(error)) return undefined
  const region = rdsEndpoint(host)?.region ?? ''
  return `Who signed the certificate of ${host} is not trusted here. Give Amazon's authorities for ${region} as tls: { ca: 'PATH' }: ${bundleOf(region)}.`
}

/**
 * Where Amazon has the bundle of a region.
 *
 * See https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/UsingWithRDS.SSL.html and, for China,
 * https://docs.amazonaws.cn/en_us/AmazonRDS/latest/UserGuide/UsingWithRDS.SSL.html
 */
function bundleOf(region: string): string {
  const store = STORES.find(({ regions }) => regions.test(region))?.url
  return store === undefined
    ? 'the documentation of that partition says where they are'
    : `${store}/${region}/${region}-bundle.pem`
}

const STORES: readonly { regions: RegExp; url: string }[] = [
  { regions: /^cn-/, url: 'https://rds-truststore.s3.cn-north-1.amazonaws.com.cn' },
  { regions: /^us-gov-/, url: 'https://truststore.pki.us-gov-west-1.rds.amazonaws.com' },
  {
    regions: /^(us|eu|ap|sa|ca|me|af|il|mx)-[a-z]+-\d+$/,
    url: 'https://truststore.pki.rds.amazonaws.com',
  },
]

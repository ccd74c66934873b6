/** The checks that apply to every client of a gateway with any engine. */
import type { Gateway } from '../../../gateway/index.js'
import { describeBulk } from './checks/bulk-checks.js'
import { describeForeignClients } from './checks/foreign-client-checks.js'
import { describeLibraries } from './checks/library-checks.js'
import { describeQueries } from './checks/query-checks.js'
import { describeSessions } from './checks/session-checks.js'

/**
 * Registers the checks.
 *
 * @param gatewayOf returns a running gateway, with the roles `admin` and `app`, where `app` may create tables in `public`
 */
export function describeClientChecks(gatewayOf: () => Gateway): void {
  describe('queries', () => describeQueries(gatewayOf))
  describe('sessions', () => describeSessions(gatewayOf))
  describe('bulk', () => describeBulk(gatewayOf))
  describe('foreign clients', () => describeForeignClients(gatewayOf))
  describe('libraries', () => describeLibraries(gatewayOf))
}

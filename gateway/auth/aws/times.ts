/** Times as the logs and the requests of AWS write them. */

export function isoTime(epochMs: number): string {
  return new Date(epochMs).toISOString()
}

/** As Signature Version 4 writes times: `20260131T235959Z`. */
export function basicTime(epochMs: number): string {
  return isoTime(epochMs).replaceAll(/[-:]|\.\d+/g, '')
}

/** Writers for the messages with which a server answers statements, for databases that are served without PostgreSQL. */
import { BackendType, cString, encodeMessage, HEADER_BYTES, int32 } from './messages.js'

/**
 * The OIDs of PostgreSQL's usual types. They are the same in every version:
 * https://github.com/postgres/postgres/blob/master/src/include/catalog/pg_type.dat
 */
export const Oid = {
  bool: 16,
  bytea: 17,
  char: 18,
  name: 19,
  int8: 20,
  int2: 21,
  int4: 23,
  text: 25,
  oid: 26,
  json: 114,
  xml: 142,
  point: 600,
  float4: 700,
  float8: 701,
  money: 790,
  macaddr: 829,
  inet: 869,
  cidr: 650,
  boolArray: 1000,
  byteaArray: 1001,
  int2Array: 1005,
  int4Array: 1007,
  textArray: 1009,
  int8Array: 1016,
  float4Array: 1021,
  float8Array: 1022,
  bpchar: 1042,
  varchar: 1043,
  date: 1082,
  time: 1083,
  timestamp: 1114,
  timestamptz: 1184,
  interval: 1186,
  timetz: 1266,
  bit: 1560,
  varbit: 1562,
  numeric: 1700,
  uuid: 2950,
  jsonb: 3802,
} as const

/** A column of a result. */
export interface FieldDescription {
  name: string
  /** The OID of its type, such as `Oid.int4`. */
  type: number
  /** 0 for text, 1 for binary. Default 0. */
  format?: 0 | 1
  /** The OID of its table, if it is a column of a table. Default 0. */
  table?: number
  /** The number of the column in its table. Default 0. */
  column?: number
  /** The type's size in bytes. Default -1, which means that it varies. */
  typeSize?: number
  /** The type's modifier, such as the length of a `varchar`. Default -1, which means none. */
  typeModifier?: number
}

/** A value of a row. */
export type FieldValue = string | number | bigint | boolean | Date | Uint8Array | null

/** RowDescription: the columns of the rows that follow. */
export function rowDescription(fields: readonly FieldDescription[]): Buffer {
  return encodeMessage(
    BackendType.rowDescription,
    int16(fields.length),
    ...fields.flatMap((field) => [
      cString(field.name),
      int32(field.table ?? 0),
      int16(field.column ?? 0),
      int32(field.type),
      int16(field.typeSize ?? -1),
      int32(field.typeModifier ?? -1),
      int16(field.format ?? 0),
    ]),
  )
}

/**
 * DataRow: the values of one row. Strings are sent as they are. The others get PostgreSQL's text format: `t` and `f` for booleans,
 * `2026-11-30 13:59:24.445+00` for a `Date`. Bytes are sent as they are, which is the binary format of `bytea`, and the text of other types.
 *
 * @param fields the columns, as in `rowDescription`. With them, a `Date` is written as its column's type (`date`, `timestamp`, else
 * `timestamptz`), and bytes as the text of a `bytea` (`\\x6869`), unless the column has the binary format.
 * @throws TypeError for a value of another type, such as `undefined`
 */
export function dataRow(
  values: readonly FieldValue[],
  fields: readonly FieldDescription[] = [],
): Buffer {
  return encodeMessage(
    BackendType.dataRow,
    int16(values.length),
    ...values.flatMap((value, index) => {
      if (value === null) return [int32(-1)]
      const bytes = bytesOf(value, fields[index])
      return [int32(bytes.length), bytes]
    }),
  )
}

function bytesOf(value: Exclude<FieldValue, null>, field: FieldDescription | undefined): Buffer {
  if (value instanceof Uint8Array) {
    const isText = field?.type === Oid.bytea && field.format !== 1
    return isText ? Buffer.from(`\\x${asBuffer(value).toString('hex')}`) : asBuffer(value)
  }
  switch (typeof value) {
    case 'string':
    case 'number':
    case 'bigint':
      return Buffer.from(String(value))
    case 'boolean':
      return Buffer.from(value ? 't' : 'f')
    default:
      // Also a Date of another realm.
      if (Object.prototype.toString.call(value) === '[object Date]')
        return Buffer.from(dateText(value, field?.type))
      throw new TypeError(`a value of a row must not be of type ${typeof value}`)
  }
}

function dateText(value: Date, type: number | undefined): string {
  const [day = '', time = ''] = value.toISOString().split('T')
  if (type === Oid.date) return day
  const moment = `${day} ${time.replace('Z', '')}`
  return type === Oid.timestamp ? moment : `${moment}+00`
}

/** The values of a DataRow of an engine: text or binary, as its RowDescription says. */
export function readDataRow(message: Uint8Array): (Buffer | null)[] {
  const bytes = asBuffer(message)
  let offset = HEADER_BYTES + 2
  return Array.from({ length: bytes.readUInt16BE(HEADER_BYTES) }, () => {
    const length = bytes.readInt32BE(offset)
    offset += 4
    if (length < 0) return null
    return bytes.subarray(offset, (offset += length))
  })
}

/** CommandComplete. @param tag such as `SELECT 3` or `INSERT 0 1` */
export function commandComplete(tag: string): Buffer {
  return encodeMessage(BackendType.commandComplete, cString(tag))
}

/** EmptyQueryResponse: the answer to a query without a statement, in place of CommandComplete. */
export function emptyQueryResponse(): Buffer {
  return encodeMessage(BackendType.emptyQueryResponse)
}

/** ParseComplete: the answer to Parse. */
export function parseComplete(): Buffer {
  return encodeMessage(BackendType.parseComplete)
}

/** BindComplete: the answer to Bind. */
export function bindComplete(): Buffer {
  return encodeMessage(BackendType.bindComplete)
}

/** CloseComplete: the answer to Close. */
export function closeComplete(): Buffer {
  return encodeMessage(BackendType.closeComplete)
}

/** NoData: the answer to Describe for a statement that returns no rows, in place of RowDescription. */
export function noData(): Buffer {
  return encodeMessage(BackendType.noData)
}

/** PortalSuspended: the answer to Execute if its limit of rows was reached, in place of CommandComplete. */
export function portalSuspended(): Buffer {
  return encodeMessage(BackendType.portalSuspended)
}

/** ParameterDescription: the first answer to Describe for a statement. @param types the OIDs of its parameters */
export function parameterDescription(types: readonly number[]): Buffer {
  return encodeMessage(
    BackendType.parameterDescription,
    int16(types.length),
    ...types.map((type) => int32(type)),
  )
}

/** CopyInResponse: the client shall send its data. @param columns the number of columns */
export function copyInResponse(columns: number, format: 0 | 1 = 0): Buffer {
  return copyResponse(BackendType.copyInResponse, columns, format)
}

/** CopyOutResponse: data follows. @param columns the number of columns */
export function copyOutResponse(columns: number, format: 0 | 1 = 0): Buffer {
  return copyResponse(BackendType.copyOutResponse, columns, format)
}

function copyResponse(type: number, columns: number, format: 0 | 1): Buffer {
  const formats = Array.from({ length: columns }, () => int16(format))
  return encodeMessage(type, Buffer.of(format), int16(columns), ...formats)
}

/** CopyData: a part of the data of COPY. */
export function copyData(data: Uint8Array): Buffer {
  return encodeMessage(BackendType.copyData, asBuffer(data))
}

/** CopyDone: the end of the data of COPY. */
export function copyDone(): Buffer {
  return encodeMessage(BackendType.copyDone)
}

/** NoticeResponse: a message that is no error. @param severity such as `NOTICE` or `WARNING` */
export function noticeResponse(message: string, severity = 'NOTICE', sqlState = '00000'): Buffer {
  const fields = [`S${severity}`, `V${severity}`, `C${sqlState}`, `M${message}`].map(cString)
  return encodeMessage(BackendType.noticeResponse, ...fields, Buffer.alloc(1))
}

/** NotificationResponse: a notification of `LISTEN`. */
export function notificationResponse(processId: number, channel: string, payload = ''): Buffer {
  return encodeMessage(
    BackendType.notificationResponse,
    int32(processId),
    cString(channel),
    cString(payload),
  )
}

function int16(value: number): Buffer {
  const bytes = Buffer.alloc(2)
  bytes.writeUInt16BE(value & 0xffff)
  return bytes
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

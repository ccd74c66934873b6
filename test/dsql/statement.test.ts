import {
  type ParsedStatement,
  loadSqlParser,
  MAX_PARSED,
  type SqlParser,
} from '../../dsql/statement.js'

let parser: SqlParser
beforeAll(async () => {
  parser = await loadSqlParser()
})

function statementsOf(sql: string): readonly ParsedStatement[] {
  const parsed = parser.parse(sql)
  if (parsed.fault !== undefined)
    throw new Error(`${parsed.fault.message} (${parsed.fault.position})`)
  return parsed.statements
}

function tagsOf(sql: string): string[] {
  return statementsOf(sql).map(({ tag, isAsync }) => `${tag}${isAsync ? ' ASYNC' : ''}`)
}

function faultOf(sql: string): string {
  const { fault } = parser.parse(sql)
  return fault === undefined ? 'accepted' : `${fault.message} (${fault.position})`
}

const INDEX = ['IndexStmt ASYNC']

describe('ASYNC', () => {
  it.each([
    'CREATE INDEX ASYNC ON t (a)',
    'CREATE INDEX ASYNC i ON t (a)',
    'create unique index async i on t (a)',
    'CREATE INDEX ASYNC IF NOT EXISTS i ON t (a)',
    'CREATE/**/INDEX/* ASYNC /* nested */ */ASYNC--ASYNC\ni ON t (a)',
    '-- async\nCREATE INDEX\nASYNC\ni ON t (a)',
    'CREATE INDEX ASYNC"async"ON t (a)',
    'CREATE INDEX ASYNC "x;ASYNC" ON t (a);',
    "CREATE INDEX ASYNC i ON t (a) WHERE a <> 'async'",
    'CREATE INDEX ASYNC i ON t (a) WHERE a <> $async$ASYNC;$async$',
    "CREATE INDEX ASYNC i ON t (a) WHERE a <> E'\\'async'",
    'CREATE INDEX ASYNC i ON s.t ("async") INCLUDE (b)',
  ])('is a part of an index that is created: %s', (sql) => {
    expect(tagsOf(sql)).toEqual(INDEX)
  })

  it('leaves no name, so that the server chooses one', () => {
    const [statement] = statementsOf('CREATE INDEX ASYNC ON t (a)')
    expect(statement).toMatchObject({ text: 'CREATE INDEX       ON t (a)' })
    expect(statement!.node['idxname']).toBeUndefined()
  })

  it('is a part of a constraint that is validated', () => {
    expect(tagsOf('ALTER TABLE ASYNC t VALIDATE CONSTRAINT c')).toEqual(['AlterTableStmt ASYNC'])
    expect(tagsOf('alter table async "async" validate constraint c')).toEqual([
      'AlterTableStmt ASYNC',
    ])
  })

  it.each([
    ['CREATE TABLE async (id int)', 14],
    ['CREATE TABLE t (async int)', 17],
    ['SELECT async FROM t', 8],
    ['SELECT 1 async', 10],
    ['SELECT 1 FROM async', 15],
    ['SELECT 1 FROM t async', 17],
    ['SELECT 1 FROM t AS ASYNC', 20],
    ['INSERT INTO Async VALUES (1)', 13],
    ['DROP INDEX async', 12],
    ['CREATE INDEX IF NOT EXISTS ASYNC ON t (a)', 28],
    ['CREATE INDEX ASYNC async ON t (a)', 20],
    ['CREATE INDEX ASYNC i ON async (a)', 25],
    ['ALTER TABLE ASYNC async VALIDATE CONSTRAINT c', 19],
    ["SELECT '😀', 'é', async", 18],
    ['SELECT 1; SELECT async', 18],
    ['/* async */ SELECT async', 20],
  ])('is a reserved word elsewhere: %s', (sql, position) => {
    const found = /async/i.exec(
      Array.from(sql)
        .slice(position - 1)
        .join(''),
    )
    expect(faultOf(sql)).toBe(`syntax error at or near "${found![0]}" (${position})`)
  })

  it.each([
    ['SELECT "async", t."async" FROM "async" t', 'SelectStmt'],
    ['SELECT 1 AS async', 'SelectStmt'],
    ['SELECT t.async FROM t', 'SelectStmt'],
    ["SELECT 'async' || $$ASYNC$$ || U&'async'", 'SelectStmt'],
    ['CREATE TABLE "async" ("async" int)', 'CreateStmt'],
    ['SELECT asynchronous, my_async FROM t', 'SelectStmt'],
  ])('is no keyword in quotes and as a label: %s', (sql, tag) => {
    expect(tagsOf(sql)).toEqual([tag])
    expect(statementsOf(sql)[0]!.text).toBe(sql)
  })

  it('is reported only if it is the first error', () => {
    expect(faultOf('SELEC 1; SELECT async')).toBe('syntax error at or near "SELEC" (1)')
    expect(faultOf('SELECT async; SELEC 1')).toBe('syntax error at or near "async" (8)')
    expect(faultOf('CREATE INDEX ASYNC i ON')).toBe('syntax error at end of input (24)')
    expect(faultOf('CREATE INDEX ASYNC public.i ON t (a)')).toBe('syntax error at or near "." (26)')
  })

  it('does not split the bodies of functions in standard SQL', () => {
    const body = "BEGIN ATOMIC SELECT 1; SELECT 'async'; END"
    expect(tagsOf(`CREATE FUNCTION f() RETURNS int ${body}; SELECT 1`)).toEqual([
      'CreateFunctionStmt',
      'SelectStmt',
    ])
    expect(tagsOf(`CREATE FUNCTION f() RETURNS int ${body}; CREATE INDEX ASYNC ON t (a)`)).toEqual([
      'CreateFunctionStmt',
      ...INDEX,
    ])
    expect(faultOf('CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT async; END')).toBe(
      'syntax error at or near "async" (53)',
    )
  })
})

const ARN = 'arn:aws:iam::123456789012:role/app'

describe('AWS IAM', () => {
  const grant = { isGrant: true, role: 'app', arn: ARN }

  it.each<[string, object]>([
    [`AWS IAM GRANT app TO '${ARN}'`, grant],
    [`aws iam grant APP to '${ARN}';`, grant],
    [`AWS /* ; */ IAM -- '\n GRANT app TO '${ARN}' -- end`, grant],
    [`/* first */ AWS IAM GRANT app TO '${ARN}'`, grant],
    [`AWS IAM GRANT "App ""x""" TO '${ARN}'`, { ...grant, role: 'App "x"' }],
    [`AWS IAM GRANT app TO '${ARN}--b/*c*/'`, { ...grant, arn: `${ARN}--b/*c*/` }],
    [`AWS IAM GRANT app TO 'it''s'`, { ...grant, arn: "it's" }],
    [`AWS IAM GRANT größe TO '${ARN}'`, { ...grant, role: 'größe' }],
    [`AWS IAM REVOKE app FROM '${ARN}'`, { ...grant, isGrant: false }],
  ])('is read: %s', (sql, expected) => {
    expect(statementsOf(sql)).toEqual([
      expect.objectContaining({ tag: 'AwsIamStmt', node: expected, word: 'AWS' }),
    ])
  })

  it.each([
    'AWS',
    'AWS IAM',
    'AWS IAM GRANT app',
    `AWS IAM GRANT app FROM '${ARN}'`,
    `AWS IAM REVOKE app TO '${ARN}'`,
    `AWS IAM GRANT app TO "${ARN}"`,
    `AWS IAM GRANT 'app' TO '${ARN}'`,
    `AWS IAM GRANT app TO '${ARN}' x`,
    'AWS S3 LS',
  ])('is an error of syntax otherwise: %s', (sql) => {
    expect(faultOf(sql)).toBe('syntax error at or near "AWS" (1)')
    expect(faultOf(`SELECT 'ü'; ${sql}`)).toBe('syntax error at or near "AWS" (13)')
  })

  it('keeps the order among other statements, and their places', () => {
    const sql = `SELECT 'é'; AWS IAM GRANT größe TO '${ARN}'; SELECT 'ü' AS aws, version()`
    const all = statementsOf(sql)
    expect(all.map(({ tag }) => tag)).toEqual(['SelectStmt', 'AwsIamStmt', 'SelectStmt'])
    for (const { text, start, end } of all) expect(text).toBe(sql.slice(start, end))
  })

  it('is no keyword elsewhere', () => {
    expect(tagsOf('SELECT aws, iam FROM aws.iam')).toEqual(['SelectStmt'])
  })
})

describe('statements', () => {
  it.each([
    ['', []],
    [' \n', []],
    ['-- comment', []],
    ['/* async */', []],
    [';;', []],
    [';SELECT 1;;SELECT 2;', ['SelectStmt', 'SelectStmt']],
    ['SELECT 1; -- async', ['SelectStmt']],
    [`SELECT ';'; SELECT $a$;$b$;$a$; SELECT ";"`, ['SelectStmt', 'SelectStmt', 'SelectStmt']],
  ])('of %p are told apart', (sql, tags) => {
    expect(tagsOf(sql)).toEqual(tags)
  })

  it('have the places of the text, also with characters of several bytes', () => {
    const sql = "SELECT 'äöü😀' ; /* ß */ SELECT '€', 2 ;SELECT 3"
    const all = statementsOf(sql)
    expect(all).toHaveLength(3)
    for (const { text, start, end } of all) expect(text).toBe(sql.slice(start, end))
    expect(all[1]!.text).toContain("'€', 2")
    expect(all[2]!.text).toBe('SELECT 3')
  })

  it.each([
    ['SELEC 1', 'syntax error at or near "SELEC" (1)'],
    ["SELECT 'é😀' FROM FROM t", 'syntax error at or near "FROM" (18)'],
    ['SELECT (1', 'syntax error at end of input (10)'],
    ['SELECT 1; SELECT 2 2', 'syntax error at or near "2" (20)'],
  ])('of an invalid text have the position of the error: %s', (sql, expected) => {
    expect(faultOf(sql)).toBe(expected)
  })

  it.each([
    "SELECT 'open",
    'SELECT $$open',
    'SELECT /* open',
    'SELECT ""',
    "SELECT U&'\\00zz'",
    `SELECT ${'('.repeat(20_000)}`,
  ])('that the parser cannot read are left to the engine: %.20s', (sql) => {
    for (const { tag } of statementsOf(sql)) expect(tag).toBeUndefined()
  })

  it('are read after a text that was too deep', () => {
    statementsOf(`SELECT ${'('.repeat(20_000)}`)
    expect(tagsOf('SELECT 1')).toEqual(['SelectStmt'])
  })
})

describe('long texts', () => {
  it('an INSERT of 8 MB is told by its first word, and not parsed', () => {
    const sql = `INSERT INTO t VALUES ${"(1, 'async ; aws'),".repeat(440_000)}(1)`
    expect(statementsOf(sql)).toEqual([
      expect.objectContaining({ tag: undefined, word: 'INSERT', start: 0, end: sql.length }),
    ])
  })

  it('short statements in a long text are parsed', () => {
    const insert = `INSERT INTO t VALUES ${'(1),'.repeat(MAX_PARSED / 4)}(1)`
    const all = statementsOf(`BEGIN; ${insert}; CREATE INDEX ASYNC i ON t (a); TRUNCATE t; COMMIT`)
    expect(all.map(({ tag, word }) => tag ?? word)).toEqual([
      'TransactionStmt',
      'INSERT',
      'IndexStmt',
      'TruncateStmt',
      'TransactionStmt',
    ])
    expect(all[2]).toMatchObject({ isAsync: true })
  })
})

describe('texts that were seen before', () => {
  it('are not parsed again while they are used, and forgotten otherwise', () => {
    const rare = parser.parse('SELECT 0')
    const used = parser.parse('SELECT 1 AS used')
    expect(parser.parse('SELECT 0')).toBe(rare)
    for (let index = 1; index <= 100_000; index++) {
      parser.parse(`SELECT ${index}`)
      if (index % 1_000 === 0) parser.parse('SELECT 1 AS used')
    }
    expect(parser.parse('SELECT 1 AS used')).toBe(used)
    expect(parser.parse('SELECT 0')).not.toBe(rare)
  })
})

/** What was to be reached, and what was. */
import type { FigureTable } from '../common/report/figure-table.js'
import { sectionOf, type Goal, type Judgement, type Verdict } from './goals/goal.js'
import type { Measured } from './results.js'

export interface Judged {
  readonly goal: Goal
  /** Nothing where it was not measured. */
  readonly judgement: Judgement | undefined
}

export function judgeAll(goals: readonly Goal[], measured: readonly Measured[]): Judged[] {
  return goals.map((goal) => {
    const section = sectionOf(measured, goal.section)
    return { goal, judgement: section && goal.judge(section) }
  })
}

/** @param linkTo the address of a section, such as `#one-token` */
export function summaryTable(
  judged: readonly Judged[],
  linkTo: (section: string) => string | undefined,
): FigureTable {
  return {
    title: 'Goals',
    head: ['what', 'against', 'goal', 'measured', 'met?'],
    nameColumns: 5,
    rows: judged.map(({ goal: { section, what, against, toReach }, judgement }) => {
      const link = linkTo(section)
      return [
        link === undefined ? what : `[${what}](${link})`,
        against,
        toReach ?? 'none was set',
        judgement?.measured.join('<br>') ?? 'not measured',
        judgement === undefined ? 'not measured' : SHOWN[judgement.verdict],
      ]
    }),
  }
}

const SHOWN: Readonly<Record<Verdict, string>> = {
  yes: '**yes**',
  no: '**no**',
  'too noisy': '**too noisy**',
  'no goal': '–',
}

/** "5 of 9 goals are met, 2 are not, 1 is too noisy to tell, 1 was not measured." */
export function summaryLine(judged: readonly Judged[]): string {
  const goals = judged.filter(({ goal }) => goal.toReach !== undefined)
  const verdicts = goals.map(({ judgement }) => judgement?.verdict)
  const count = (verdict: Verdict | undefined): number =>
    verdicts.filter((one) => one === verdict).length
  const parts: readonly (readonly [number, string, string])[] = [
    [count('no'), 'is not', 'are not'],
    [count('too noisy'), 'is too noisy to tell', 'are too noisy to tell'],
    [count(undefined), 'was not measured', 'were not measured'],
  ]
  const yes = count('yes')
  return (
    [
      `${yes} of ${goals.length} goals ${yes === 1 ? 'is' : 'are'} met`,
      ...parts
        .filter(([many]) => many > 0)
        .map(([many, one, more]) => `${many} ${many === 1 ? one : more}`),
    ].join(', ') + '.'
  )
}

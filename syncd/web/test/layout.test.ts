import { describe, expect, it } from 'vitest'
import { Graph } from '../src/core/graph'
import { layOut } from '../src/core/layout'

const node = (id: string, parents: string[], branch = 'main', role = 'user', created = Number(id.replace(/\D/g, ''))): Parameters<Graph['add']>[0] =>
  ({ id, parents, branch, role, created, status: 'complete', hiddenCount: 0 })

const lanes = (graph: Graph): Record<string, number> => Object.fromEntries(layOut(graph, [...graph.branches]).nodes.map(({ id, lane }) => [id, lane]))

describe('the picture of a graph', () => {
  it('puts alternatives beside the line that goes on', () => {
    const graph = new Graph([node('1', []), node('2', ['1'], 'main', 'assistant'), node('3', ['1'], 'main', 'assistant'), node('4', ['2'])])
    expect(lanes(graph)).toEqual({ 1: 0, 2: 0, 3: 1, 4: 0 })
  })

  it('uses a lane again where the branch in it has ended', () => {
    const graph = new Graph([node('1', []), node('2', ['1'], 'a'), node('3', ['1']), node('4', ['3'], 'b'), node('5', ['3'])])
    expect(lanes(graph)).toMatchObject({ 2: 1, 4: 1 })
  })

  it('keeps a lane as far down as the merge that it leads to', () => {
    const graph = new Graph([node('1', []), node('2', ['1'], 'a'), node('3', ['1']), node('4', ['3'], 'b'), node('5', ['3', '2'], 'main', 'merge')])
    expect(lanes(graph)).toMatchObject({ 1: 0, 2: 1, 3: 0, 4: 2, 5: 0 })
  })

  it('goes straight on through a merge, whichever parent is named first', () => {
    const graph = new Graph([node('1', []), node('2', ['1'], 'a'), node('3', ['1']), node('4', ['2', '3'], 'main', 'merge')])
    expect(lanes(graph)).toEqual({ 1: 0, 2: 1, 3: 0, 4: 0 })
    expect(layOut(graph, ['main']).edges.filter(({ isMerged }) => isMerged).map(({ above }) => above.id)).toEqual(['2'])
  })

  it('never puts a message above one that it stands on, whatever the clocks say', () => {
    const graph = new Graph([node('a', [], 'main', 'user', 9), node('b', ['a'], 'main', 'user', 1)])
    expect(layOut(graph, ['main']).nodes.map(({ id }) => id)).toEqual(['a', 'b'])
  })

  it('lays out a long conversation', () => {
    const graph = new Graph(Array.from({ length: 10_000 }, (_, count) => node(String(count), count ? [String(count - 1)] : [])))
    const { nodes, lanes, edges } = layOut(graph, ['main'])
    expect([nodes.length, lanes, edges.length]).toEqual([10_000, 1, 9_999])
  })
})

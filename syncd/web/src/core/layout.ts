// Where messages stand in a picture of the graph: a row each, and lanes, as in git's logs.
import type { Graph } from './graph'
import { byOrder } from './message'

const COLOURS = 6

interface Strand { from: number; until: number; lane: number }
export interface Placed { id: string; row: number; lane: number; colour: number }

/** `isMerged`: a line that comes in beside the one that goes on. */
export interface Edge { node: Placed; above: Placed; isMerged: boolean }
export interface Layout { nodes: Placed[]; lanes: number; edges: Edge[] }

/** A row for each message, parents above what stands on them; a lane for each strand, used again once it has ended. */
export const layOut = (graph: Graph, names: readonly string[]): Layout => {
  const colours = new Map(names.map((name, place) => [name, place % COLOURS]))
  const order = topological(graph)
  const rowOf = new Map(order.map((id, row) => [id, row]))
  const strands: Strand[] = []
  const strandOf = new Map<string, Strand>()
  const cameFrom = new Map<string, string | undefined>()
  order.forEach((id, row) => {
    const { parents } = graph.get(id)
    const own = parents.find((parent) => heirOf(graph, parent) === id)
    const from = own ?? parents[0]
    const strand = own === undefined ? { from: from === undefined ? row : rowOf.get(from)! + 1, until: row, lane: 0 } : strandOf.get(own)!
    if (own === undefined) strands.push(strand)
    strand.until = row
    strandOf.set(id, strand)
    cameFrom.set(id, from)
    // A line that is merged goes down in its own lane, which is in use so far.
    for (const parent of parents) if (parent !== from) strandOf.get(parent)!.until = Math.max(strandOf.get(parent)!.until, row)
  })
  const ends: number[] = []
  for (const strand of strands.sort((a, b) => a.from - b.from)) {
    const free = ends.findIndex((end) => end < strand.from)
    strand.lane = free < 0 ? ends.push(0) - 1 : free
    ends[strand.lane] = strand.until
  }
  const nodes = order.map((id, row) => ({ id, row, lane: strandOf.get(id)!.lane, colour: colours.get(graph.get(id).branch) ?? 0 }))
  const edges = nodes.flatMap((node) => graph.get(node.id).parents.map((parent) => ({ node, above: nodes[rowOf.get(parent)!]!, isMerged: parent !== cameFrom.get(node.id) })))
  return { nodes, lanes: ends.length, edges }
}

/** Who goes straight on under a message: on its own branch what was continued, else what came last. */
const heirOf = (graph: Graph, id: string): string | undefined => {
  const { branch } = graph.get(id)
  const own = graph.children(id).filter((child) => graph.get(child).branch === branch)
  return own.find((child) => graph.isContinued(child)) ?? own.at(-1)
}

/** By time, but never before a parent: clocks of two devices differ. */
const topological = (graph: Graph): string[] => {
  const all = [...graph.placed.values()].sort(byOrder)
  const done = new Set<string>()
  const order: string[] = []
  for (const node of all) {
    const stack = [node.id]
    while (stack.length) {
      const id = stack.at(-1)!
      if (done.has(id)) { stack.pop(); continue }
      const missing = graph.get(id).parents.filter((parent) => !done.has(parent))
      if (missing.length) { stack.push(...missing); continue }
      stack.pop()
      done.add(id)
      order.push(id)
    }
  }
  return order
}

/** Everything that the sim has left, to look at or to take along. */
import { useMemo } from "react";
import { api, fileAddress } from "../api/client";
import type { FileEntry } from "../api/types";
import { type Column, DataTable } from "../components/DataTable";
import { Choice, FilterBar, Search, useTyped } from "../components/FilterBar";
import { Empty, Failure, Loading } from "../components/states";
import { useFetched } from "../components/useFetched";
import { bytes, plural, timeOfDay } from "../format";
import { FILE_KINDS, kindOf } from "../state/files";
import type { TabProps } from "./contract";

export function Files({ run, sim, record, params, setParams, hashOf, isLive }: TabProps) {
  const generated = record.events.filter((event) => event.kind.endsWith("_generated")).length;
  const version = `${record.sim?.status ?? ""} ${generated} ${record.logs.length} ${record.resultsVersion}`;
  const files = useFetched(version, (signal) => api.files(run, sim, signal));
  const [text, setText] = useTyped(params.text ?? "", (value) => setParams({ text: value }, "replace"));
  const columns = useMemo(() => columnsOf(run, sim, hashOf), [run, sim, hashOf]);
  const all = useMemo(() => files.value?.files ?? [], [files.value]);
  const shown = useMemo(
    () =>
      all.filter(
        (file) =>
          (!params.kind || kindOf(file.path) === params.kind) &&
          file.path.toLowerCase().includes((params.text ?? "").toLowerCase()),
      ),
    [all, params.kind, params.text],
  );
  if (files.error) return <Failure title="The files could not be listed" error={files.error} retry={files.again} />;
  if (!files.value) return <Loading what="the files" />;
  if (all.length === 0) return <Empty title={isLive ? "No files yet" : "There are no files"} />;
  const kinds = FILE_KINDS.filter((kind) => all.some((file) => kindOf(file.path) === kind));
  return (
    <>
      <FilterBar>
        <Search label="Search the files" value={text} onChange={setText} placeholder="path" />
        <Choice
          label="Kind"
          any="all kinds"
          value={params.kind ?? ""}
          options={kinds}
          onChange={(kind) => setParams({ kind })}
        />
        <span className="muted">
          {plural(shown.length, "file")}, {bytes(shown.reduce((sum, file) => sum + file.size, 0))}
          {files.value.is_cut && " (there are more than can be listed)"}
        </span>
      </FilterBar>
      {shown.length === 0 ? (
        <Empty title="No file fits" />
      ) : (
        <DataTable
          label="Files"
          columns={columns}
          rows={shown}
          keyOf={(file) => file.path}
          selected={params.at ?? null}
          onSelect={(at) => setParams({ at }, "replace")}
          open={(file) => window.open(fileAddress(run, sim, file.path), "_blank", "noopener")}
        />
      )}
    </>
  );
}

function columnsOf(run: string, sim: string, hashOf: TabProps["hashOf"]): readonly Column<FileEntry>[] {
  return [
    {
      id: "path",
      title: "File",
      value: (file) => file.path,
      cell: (file) => (
        <a href={fileAddress(run, sim, file.path)} target="_blank" rel="noopener noreferrer" className="mono">
          {file.path}
        </a>
      ),
    },
    { id: "kind", title: "Kind", value: (file) => kindOf(file.path), width: "8rem", isWide: true },
    { id: "type", title: "Type", value: (file) => file.type, width: "13rem", isWide: true },
    {
      id: "modified",
      title: "Written",
      value: (file) => file.modified_us,
      cell: (file) => timeOfDay(file.modified_us, 0),
      width: "6rem",
      isNumber: true,
      isWide: true,
    },
    {
      id: "size",
      title: "Size",
      value: (file) => file.size,
      cell: (file) => bytes(file.size),
      width: "5.5rem",
      narrowWidth: "4.5rem",
      isNumber: true,
    },
    {
      id: "actions",
      title: "Get",
      value: () => undefined,
      cell: (file) => (
        <span className="links">
          <a href={fileAddress(run, sim, file.path, true)} download aria-label={`Download ${file.path}`}>
            Download
          </a>
          {file.path.endsWith(".log") && <a href={hashOf("logs", { log: file.path })}>Log</a>}
        </span>
      ),
      width: "8.5rem",
    },
  ];
}

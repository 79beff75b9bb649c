using CsvHelper;
using FedLearn.Diagnostics;

namespace FedLearn.Cli;

/// <summary>Files that the tool writes for people: whole or not at all.</summary>
internal static class OutputFile
{
    /// <summary>Links that a path is followed through.</summary>
    private const int MostLinks = 64;

    /// <summary>As large as a report and a model of some hundred columns.</summary>
    private const int ProbeBytes = 1 << 18;

    /// <summary>Writes a text file under another name first, so that a file of the wanted name is always complete.</summary>
    /// <param name="path">File; its folder is created.</param>
    /// <param name="text">Text, written as UTF-8.</param>
    /// <exception cref="ConfigurationException">FL2102: the file cannot be written.</exception>
    public static void Write(string path, string text) => Write(path, unfinished => File.WriteAllText(unfinished, text));

    /// <summary>Writes a file under another name first, so that a file of the wanted name is always complete. A link stays, and what it leads to is written; a pipe or a device is written into.</summary>
    /// <param name="path">File; its folder is created.</param>
    /// <param name="write">Writes the file of the name it is given.</param>
    /// <param name="ownerOnly">Whether nobody but its owner may read it, and enter a folder that is made for it.</param>
    /// <exception cref="ConfigurationException">FL2102: the file cannot be written.</exception>
    public static void Write(string path, Action<string> write, bool ownerOnly = false)
    {
        if (IsStream(path))
        {
            Guard(path, () => write(path));
            return;
        }

        string full = Resolved(path), unfinished = $"{full}.{Environment.ProcessId}.tmp";
        Guard(path, () =>
        {
            string folder = Path.GetDirectoryName(full)!;
            if (ownerOnly)
                DurableFile.CreateFolder(folder);
            else
                Directory.CreateDirectory(folder);
            try
            {
                // Made with its mode first: writing over a file that is there keeps the mode.
                if (ownerOnly)
                    new FileStream(unfinished, DurableFile.OwnerOnly(FileMode.Create)).Dispose();
                write(unfinished);
                DurableFile.Publish(unfinished, full);
            }
            catch
            {
                File.Delete(unfinished);
                throw;
            }
        });
    }

    /// <summary>Writes a CSV file, as <see cref="Write(string, Action{string}, bool)"/> writes a file.</summary>
    /// <param name="path">File; its folder is created.</param>
    /// <param name="rows">Cells of its lines, the head first.</param>
    /// <param name="ownerOnly">As there.</param>
    /// <exception cref="ConfigurationException">FL2102: the file cannot be written.</exception>
    public static void WriteCsv(string path, IEnumerable<string[]> rows, bool ownerOnly = false) => Write(path, unfinished =>
    {
        using CsvWriter csv = CsvWriter.ToFile(unfinished, new CsvWriterOptions());
        foreach (string[] row in rows)
        {
            foreach (string cell in row)
                csv.WriteField(cell);
            csv.EndRecord();
        }
    }, ownerOnly);

    /// <summary>Does something that writes, and says where it could not.</summary>
    /// <param name="path">What is written.</param>
    /// <param name="write">Writes it.</param>
    /// <exception cref="ConfigurationException">FL2102: it cannot be written.</exception>
    public static void Guard(string path, Action write)
    {
        try
        {
            write();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw CannotWrite(path, e);
        }
    }

    /// <summary>Refuses, before long work, places where its results could not be written, and those of files that it reads or keeps.</summary>
    /// <param name="inputs">Run files, tables, schemas, splits, models and ledgers of the work. What does not exist counts too: it may be made meanwhile.</param>
    /// <param name="folder">Folder of results; null for none.</param>
    /// <param name="files">Files of results, those in the folder whose names are known included; null for none.</param>
    /// <exception cref="ConfigurationException">FL2100: a result would take the place of an input or of another result. FL2102: a file stands where a folder has to be, or a folder where
    /// a file has to be.</exception>
    public static void CheckApart(IEnumerable<string> inputs, string? folder, params string?[] files)
    {
        var read = inputs.Select(Resolved).ToHashSet(Names);
        (string Given, string Place)[] written = [.. files.OfType<string>().Where(file => file.Length > 0 && !IsStream(file)).Select(file => (file, Resolved(file)))];
        if (written.FirstOrDefault(file => read.Contains(file.Place)).Given is { } taken)
            throw Destroys(taken, "this is an input of the command (its run file, a table, schema, split, model or ledger), which a result would replace.", "Write the result to another file.");
        for (int i = 0; i < written.Length; i++)
            if (written.Where((_, other) => other != i).Select(other => other.Place).Concat(folder is { Length: > 0 } ? [Resolved(folder)] : []).Any(other => IsOrIsIn(other, written[i].Place)))
                throw Destroys(written[i].Given, "another result of the command has this place, or one in a folder of this name.", "Write every result to a file of its own.");
        Check(folder, files);
    }

    /// <summary>Refuses a folder that is replaced as a whole and has an input in it.</summary>
    /// <param name="inputs">Files that are read.</param>
    /// <param name="folder">The folder.</param>
    /// <exception cref="ConfigurationException">FL2100: an input would be lost.</exception>
    public static void CheckApartFromFolder(IEnumerable<string> inputs, string folder)
    {
        if (folder.Length > 0 && Resolved(folder) is var place && inputs.FirstOrDefault(input => IsOrIsIn(Resolved(input), place)) is { } inside)
            throw Destroys(folder, $"'{inside}', which the command reads, is in this folder, and the folder is replaced as a whole.", "Write to another folder, or move the file out of it.");
    }

    /// <summary>Writes something into a folder, durably, and removes it: a disk that is full shows before there is a result that would be lost.</summary>
    /// <param name="folder">The folder; it is made, for its owner alone.</param>
    /// <exception cref="ConfigurationException">FL2102: it cannot be written to.</exception>
    public static void Probe(string folder) => Guard(folder, () =>
    {
        DurableFile.CreateFolder(folder);
        string probe = Path.Combine(folder, ".probe");
        try
        {
            using var file = new FileStream(probe, DurableFile.OwnerOnly(FileMode.Create, FileAccess.Write));
            file.Write(new byte[ProbeBytes]);
            file.Flush(flushToDisk: true);
        }
        finally
        {
            File.Delete(probe);
        }
    });

    /// <summary>Refuses, before long work, places where its results could not be written.</summary>
    /// <param name="folder">Folder of results; null for none.</param>
    /// <param name="files">Files of results; null for none.</param>
    /// <exception cref="ConfigurationException">FL2102: a file stands where a folder has to be, or a folder where a file has to be.</exception>
    public static void Check(string? folder, params string?[] files)
    {
        // Pipes and devices are left out: opening one shows whether it can be written to.
        files = [.. files.Where(file => file is null or "" || !IsStream(file))];
        foreach (string file in files.OfType<string>())
            if (file.Length == 0 || Directory.Exists(file))
                throw CannotWrite(file, null);
        foreach (string place in files.OfType<string>().Select(f => Path.GetDirectoryName(Resolved(f))!).Append(folder).OfType<string>())
            for (string? above = place.Length == 0 ? throw CannotWrite(place, null) : Path.GetFullPath(place); above is not null; above = Path.GetDirectoryName(above))
                if (File.Exists(above))
                    throw CannotWrite(place, null);
                else if (Directory.Exists(above))
                {
                    // By trying: permissions do not show that a file system is read-only, for instance.
                    string probe = above;
                    Guard(place, () => DurableFile.Touch(probe));
                    break;
                }
    }

    /// <summary>Whether a path is standard output or error of the process that opens it, or another of its open files.</summary>
    /// <param name="path">The path.</param>
    public static bool IsOwn(string path) => Path.GetFullPath(path) is "/dev/stdout" or "/dev/stderr" or ['/', 'd', 'e', 'v', '/', 'f', 'd', '/', ..];

    // Standard output may be a file: it is open already, and must be written into, not replaced by another.
    private static bool IsStream(string path) => IsOwn(path) || DurableFile.IsStream(path);

    private static bool IsOrIsIn(string path, string place) => (Path.TrimEndingDirectorySeparator(path) + Path.DirectorySeparatorChar).StartsWith(
        Path.TrimEndingDirectorySeparator(place) + Path.DirectorySeparatorChar, Names == StringComparer.Ordinal ? StringComparison.Ordinal : StringComparison.OrdinalIgnoreCase);

    // As the usual file systems compare names.
    private static StringComparer Names { get; } = OperatingSystem.IsWindows() || OperatingSystem.IsMacOS() ? StringComparer.OrdinalIgnoreCase : StringComparer.Ordinal;

    /// <summary>Full path of what a path means, with the links of the file and of every folder above followed.</summary>
    private static string Resolved(string path)
    {
        string full = Path.GetFullPath(path);
        // Links may lead in a circle, which the system refuses as well.
        for (int links = 0; links < MostLinks; links++)
            if (AfterFirstLink(full) is { } next)
                full = next;
            else
                break;
        return full;
    }

    private static string? AfterFirstLink(string full)
    {
        for (string? at = full; at is not null; at = Path.GetDirectoryName(at))
            try
            {
                if (new FileInfo(at).LinkTarget is { } target)
                    return Path.GetFullPath(Path.Combine(Path.GetFullPath(target, Path.GetDirectoryName(at) ?? at), Path.GetRelativePath(at, full)));
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                // What cannot be looked at cannot be followed.
            }

        return null;
    }

    private static ConfigurationException Destroys(string path, string cause, string remedy) => new(CliErrors.Usage, path, cause, remedy);

    // A full disk: ENOSPC on Unix, ERROR_DISK_FULL on Windows.
    private static ConfigurationException CannotWrite(string path, Exception? inner) => inner is IOException { HResult: 28 or unchecked((int)0x80070070) }
        ? new(CliErrors.CannotWrite, path, "the disk is full.", "Make room and start again: a run that was under way goes on; one that had ended is trained again, and charged again in a private mode.", inner) : new(CliErrors.CannotWrite, path.Length > 0 ? path : "output",
        "it cannot be written.", "Check that its folder can be written to, and that no folder has the name of the file or the other way round.", inner);
}

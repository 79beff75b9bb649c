using FedLearn.Diagnostics;

namespace FedLearn.Cli;

/// <summary>Files that the tool writes for people: whole or not at all.</summary>
internal static class OutputFile
{
    /// <summary>Writes a text file under another name first, so that a file of the wanted name is always complete.</summary>
    /// <param name="path">File; its folder is created.</param>
    /// <param name="text">Text, written as UTF-8.</param>
    /// <exception cref="ConfigurationException">FL2102: the file cannot be written.</exception>
    public static void Write(string path, string text) => Write(path, unfinished => File.WriteAllText(unfinished, text));

    /// <summary>Writes a file under another name first, so that a file of the wanted name is always complete.</summary>
    /// <param name="path">File; its folder is created.</param>
    /// <param name="write">Writes the file of the name it is given.</param>
    /// <exception cref="ConfigurationException">FL2102: the file cannot be written.</exception>
    public static void Write(string path, Action<string> write)
    {
        string full = Path.GetFullPath(path), unfinished = $"{full}.{Environment.ProcessId}.tmp";
        Guard(path, () =>
        {
            Directory.CreateDirectory(Path.GetDirectoryName(full)!);
            try
            {
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

    /// <summary>Refuses, before long work, places where its results could not be written.</summary>
    /// <param name="folder">Folder of results; null for none.</param>
    /// <param name="files">Files of results; null for none.</param>
    /// <exception cref="ConfigurationException">FL2102: a file stands where a folder has to be, or a folder where a file has to be.</exception>
    public static void Check(string? folder, params string?[] files)
    {
        foreach (string file in files.OfType<string>())
            if (file.Length == 0 || Directory.Exists(file))
                throw CannotWrite(file, null);
        foreach (string place in files.OfType<string>().Select(f => Path.GetDirectoryName(Path.GetFullPath(f))!).Append(folder).OfType<string>())
            for (string? above = place.Length == 0 ? throw CannotWrite(place, null) : Path.GetFullPath(place); above is not null; above = Path.GetDirectoryName(above))
                if (File.Exists(above))
                    throw CannotWrite(place, null);
                else if (Directory.Exists(above))
                {
                    // A try: permissions alone do not tell, of a read-only file system for instance.
                    string probe = above;
                    Guard(place, () => File.Create(Path.Combine(probe, $".fedlearn-{Guid.NewGuid():N}"), 1, FileOptions.DeleteOnClose).Dispose());
                    break;
                }
    }

    private static ConfigurationException CannotWrite(string path, Exception? inner) => new(CliErrors.CannotWrite, path.Length > 0 ? path : "output",
        "it cannot be written.", "Check that its folder can be written to, and that no folder has the name of the file or the other way round.", inner);
}

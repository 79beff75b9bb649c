using FedLearn.Diagnostics;

namespace FedLearn.Cli;

/// <summary>Files that the tool writes for people: whole or not at all.</summary>
internal static class OutputFile
{
    /// <summary>Writes a text file under another name first, so that a file of the wanted name is always complete.</summary>
    /// <param name="path">File; its folder is created.</param>
    /// <param name="text">Text, written as UTF-8.</param>
    /// <exception cref="ConfigurationException">FL2102: the file cannot be written.</exception>
    public static void Write(string path, string text)
    {
        string full = Path.GetFullPath(path), unfinished = $"{full}.{Environment.ProcessId}.tmp";
        try
        {
            Directory.CreateDirectory(Path.GetDirectoryName(full)!);
            File.WriteAllText(unfinished, text);
            File.Move(unfinished, full, overwrite: true);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            File.Delete(unfinished);
            throw new ConfigurationException(CliErrors.CannotWrite, path, "the file cannot be written.", "Check that its folder can be written to and that it is no folder itself.", e);
        }
    }
}

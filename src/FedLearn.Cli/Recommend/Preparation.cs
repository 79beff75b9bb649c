using System.Security.Cryptography;
using System.Text.Json;
using System.Text.Json.Nodes;
using FedLearn.Cli.Output;
using FedLearn.Diagnostics;

namespace FedLearn.Cli.Recommend;

/// <summary>A directory that is made as a whole: written beside its place, then moved there. It lists its files, so that a later preparation may replace it, and
/// nothing that somebody added or changed is lost.</summary>
internal static class Preparation
{
    /// <summary>File that lists the others.</summary>
    public const string ListName = "preparation.json";

    /// <summary>Refuses a place that holds something else than an unchanged earlier preparation.</summary>
    /// <param name="directory">The place.</param>
    /// <exception cref="ConfigurationException">FL2445: it does; FL2102: it cannot be written to.</exception>
    public static void Check(string directory)
    {
        OutputFile.Check(directory);
        if (!Directory.Exists(directory))
            return;
        string[] there = [.. Directory.GetFiles(directory, "*", SearchOption.AllDirectories).Select(path => Path.GetRelativePath(directory, path).Replace('\\', '/')).Order(StringComparer.Ordinal)];
        if (there.Length == 0)
            return;
        Dictionary<string, string> listed = Listed(directory);
        foreach (string name in there)
        {
            if (name == ListName)
                continue;
            if (!listed.TryGetValue(name, out string? digest))
                throw Taken(directory, listed.Count == 0 ? "it is not empty, and holds no earlier preparation." : $"beside an earlier preparation it holds {name}.");
            if (digest != Digest(Path.Combine(directory, name)))
                throw Taken(directory, $"{name} was changed since it was prepared.");
        }
    }

    /// <summary>Makes the directory.</summary>
    /// <param name="directory">Its place, which <see cref="Check"/> found free.</param>
    /// <param name="about">What the list says beside the files.</param>
    /// <param name="write">Writes the files into the directory that it is given.</param>
    /// <exception cref="ConfigurationException">FL2102: it cannot be written.</exception>
    public static void Make(string directory, JsonObject about, Action<string> write)
    {
        string full = Path.TrimEndingDirectorySeparator(Path.GetFullPath(directory)), unfinished = $"{full}.{Environment.ProcessId}.tmp", old = $"{full}.{Environment.ProcessId}.old";
        OutputFile.Guard(directory, () =>
        {
            try
            {
                Directory.CreateDirectory(unfinished);
                write(unfinished);
                about["files"] = new JsonObject(Directory.GetFiles(unfinished, "*", SearchOption.AllDirectories).Order(StringComparer.Ordinal)
                    .Select(path => KeyValuePair.Create(Path.GetRelativePath(unfinished, path).Replace('\\', '/'), (JsonNode?)Digest(path))));
                File.WriteAllText(Path.Combine(unfinished, ListName), about.ToJsonString(ReportWriter.Readable) + "\n");
                if (Directory.Exists(full))
                {
                    Directory.Move(full, old);
                    try
                    {
                        Directory.Move(unfinished, full);
                    }
                    catch
                    {
                        Directory.Move(old, full);
                        throw;
                    }

                    Directory.Delete(old, recursive: true);
                }
                else
                {
                    Directory.Move(unfinished, full);
                }
            }
            finally
            {
                if (Directory.Exists(unfinished))
                    Directory.Delete(unfinished, recursive: true);
            }
        });
    }

    private static Dictionary<string, string> Listed(string directory)
    {
        try
        {
            return JsonNode.Parse(File.ReadAllText(Path.Combine(directory, ListName)))?["files"] is JsonObject files
                ? files.ToDictionary(pair => pair.Key, pair => pair.Value!.GetValue<string>())
                : [];
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or JsonException or InvalidOperationException or NullReferenceException)
        {
            return [];
        }
    }

    private static string Digest(string path)
    {
        using FileStream file = File.OpenRead(path);
        return Convert.ToHexStringLower(SHA256.HashData(file));
    }

    private static ConfigurationException Taken(string directory, string cause) =>
        new(PrepareErrors.OutputTaken, directory, cause, "Name another directory, or move what is to be kept out of it; an earlier preparation is replaced when nothing in it was changed or added.");
}

using System.CommandLine;
using System.CommandLine.Parsing;
using System.Globalization;
using FedLearn.Diagnostics;

namespace FedLearn.Experiments;

/// <summary>What the verbs share: options, exit codes, where results go.</summary>
internal static class Verbs
{
    /// <summary>An option that takes a comma-separated list, such as <c>--epsilons 1,10</c>.</summary>
    public static Option<T[]> List<T>(string name, string description, params T[] defaults) where T : IParsable<T> => new(name)
    {
        Description = $"{description} Default {string.Join(',', defaults)}.",
        DefaultValueFactory = _ => defaults,
        CustomParser = result =>
        {
            string[] parts = string.Join(',', result.Tokens.Select(t => t.Value)).Split(',', StringSplitOptions.TrimEntries);
            var values = new T[parts.Length];
            for (int i = 0; i < parts.Length; i++)
                if (!T.TryParse(parts[i], CultureInfo.InvariantCulture, out values[i]!))
                    result.AddError($"{name} takes a comma-separated list.");
            return values;
        },
    };

    /// <summary>The folder results are written to.</summary>
    public static Option<DirectoryInfo> Out() => new("--out")
    {
        Description = "Folder the results are written to, as files with today's date. Default benchmarks/results.",
        DefaultValueFactory = _ => new DirectoryInfo(Path.Combine(Repository(), "benchmarks", "results")),
    };

    /// <summary>The middle one, or of an even number the mean of the two in the middle.</summary>
    public static double Median(IEnumerable<double> values)
    {
        double[] sorted = [.. values.Order()];
        return (sorted[(sorted.Length - 1) / 2] + sorted[sorted.Length / 2]) / 2;
    }

    /// <summary>Runs a verb; the one place where an error becomes an exit code.</summary>
    public static async Task<int> RunAsync(Func<Task<int>> verb)
    {
        try
        {
            return await verb().ConfigureAwait(false);
        }
        catch (FedLearnException e)
        {
            await Console.Error.WriteLineAsync(e.Message).ConfigureAwait(false);
            return e.ExitCode;
        }
        catch (DirectoryNotFoundException e)
        {
            await Console.Error.WriteLineAsync(e.Message).ConfigureAwait(false);
            return 2;
        }
    }

    /// <summary>An option that takes a whole number of at least 1.</summary>
    public static Option<int> Positive(string name, string description, int value)
    {
        var option = new Option<int>(name) { Description = $"{description} Default {value}.", DefaultValueFactory = _ => value };
        option.Validators.Add((OptionResult result) =>
        {
            if (result.Tokens.Count > 0 && result.GetValueOrDefault<int>() < 1)
                result.AddError($"{name} is at least 1.");
        });
        return option;
    }

    /// <summary>The folder that holds FedLearn.sln, or the current one where there is none above the program.</summary>
    public static string Repository()
    {
        for (DirectoryInfo? folder = new(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
            if (File.Exists(Path.Combine(folder.FullName, "FedLearn.sln")))
                return folder.FullName;
        return Environment.CurrentDirectory;
    }
}

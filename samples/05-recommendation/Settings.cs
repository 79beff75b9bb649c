using System.Globalization;
using FedLearn.Dssm;

namespace FedLearn.Samples.Recommendation;

/// <summary>How a model is trained.</summary>
internal sealed record Setup(DssmModelOptions Model, DssmTrainingOptions Training);

/// <summary>The program's arguments, and the sizes that follow from them.</summary>
internal sealed record Settings
{
    /// <summary>Folder of MovieLens 100K; null: the generator.</summary>
    public string? Source { get; private init; }

    /// <summary>Where the report is written as JSON; null: nowhere.</summary>
    public string? Report { get; private init; }

    /// <summary>Every figure is a mean over the training seeds 0 to this less 1.</summary>
    public int Seeds { get; private init; } = 1;

    /// <summary>Users of the generator.</summary>
    public int Users { get; private init; } = 600;

    /// <summary>Items of the generator.</summary>
    public int Items { get; private init; } = 400;

    /// <summary>Jobs without noise; the epoch with the best validation figure is kept.</summary>
    public Setup Plain => new(new DssmModelOptions(), new DssmTrainingOptions { Epochs = 12, BatchSize = BatchSize });

    /// <summary>Jobs with noise, and the one they are compared with.</summary>
    public Setup Noised => new(new DssmModelOptions { Layers = [64, 16], Negatives = 20 }, new DssmTrainingOptions { Epochs = 5, BatchSize = BatchSize, ValidationStop = false });

    private int BatchSize => Source is null ? 256 : 1024;

    public static Settings Parse(string[] args)
    {
        string? home = Environment.GetEnvironmentVariable("FEDLEARN_DATA"), found = home is null ? null : Path.Combine(home, "ml-100k");
        var settings = new Settings { Source = Directory.Exists(found) ? found : null };
        for (int i = 0; i < args.Length; i += 2)
        {
            string? value = i + 1 < args.Length ? args[i + 1] : null;
            settings = (args[i], value) switch
            {
                ("--source", not null) => settings with { Source = value },
                ("--report", not null) => settings with { Report = value },
                ("--seeds", not null) => settings with { Seeds = Number(args[i], value) },
                ("--users", not null) => settings with { Users = Number(args[i], value) },
                ("--items", not null) => settings with { Items = Number(args[i], value) },
                _ => throw Wrong(args[i]),
            };
        }

        return settings;
    }

    private static int Number(string name, string value) => int.TryParse(value, NumberStyles.None, CultureInfo.InvariantCulture, out int number) && number > 0 ? number : throw Wrong(name);

    private static ArgumentException Wrong(string name) => new($"Argument {name}: usage is [--source DIR] [--report FILE] [--seeds N] [--users N] [--items N].");
}
